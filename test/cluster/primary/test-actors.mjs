// The worker script of the supervision tests: actors that do what the plan file says, and write what happens to them to
// stdout, one JSON line each. All processes of an instance share that pipe, so the lines are in the order of the events.
import { Buffer } from 'node:buffer';
import { readFileSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import process from 'node:process';
import { setImmediate } from 'node:timers';
import { setTimeout as delay } from 'node:timers/promises';

const { runWorker } = await import(new URL('../../../dist/cluster/run-worker.js', import.meta.url).href);
const { metricsText } = await import(new URL('../../../dist/platform/metrics/merge.js', import.meta.url).href);
const { ConfigurationError } = await import(new URL('../../../dist/platform/errors.js', import.meta.url).href);

// Read at every start of a process, as its code would be.
const plans = JSON.parse(readFileSync(process.env.TEST_PLAN, 'utf8'));

await runWorker((role) =>
  Promise.resolve(({ name, settings, metrics, cluster, fail }) => {
    metrics.counter('test_starts_total', 'Actors that were made.').inc();
    const say = (event, more = {}) =>
      writeSync(1, `${JSON.stringify({ actor: name, pid: process.pid, event, ...more })}\n`);
    const plan = { onStart: 'run', unreadyReasons: [], drainMs: 0, standsStillMs: 0, ...plans[role], ...plans[name] };
    const held = Buffer.alloc((plan.holdsMb ?? 0) * 1024 * 1024, 1);
    const answer = async ({ url }) =>
      url === '/metrics' ? await metricsText(await cluster.metrics()) : String(process.pid);
    const server = plan.listens
      ? createServer((request, response) => {
          answer(request).then(
            (text) => response.end(text),
            (error) => response.writeHead(500).end(String(error)),
          );
        })
      : undefined;
    return {
      async start() {
        say('starting');
        if (plan.onStart === 'configuration') throw new ConfigurationError('TEST_PLAN is wrong.');
        if (plan.onStart === 'crash') process.exit(1);
        if (server) await new Promise((resolve) => server.listen(settings.port, '127.0.0.1', resolve));
        if (plan.asks) say('processes', { processes: await cluster.processes() });
        say('started');
        if (plan.onStart === 'fail later') setImmediate(() => fail(new ConfigurationError('TEST_PLAN was wrong.')));
        if (plan.onStart === 'crash later') setImmediate(() => Promise.reject(new Error('nobody handles this')));
      },
      unreadyReasons: () => plan.unreadyReasons,
      rest() {
        // Stands still before the snapshot is taken, and for certain as long.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, plan.standsStillMs);
        return Promise.resolve(() => Promise.resolve(say('goes on')));
      },
      async drain() {
        say('draining');
        await delay(plan.drainMs);
        if (server) await new Promise((resolve) => server.close(resolve));
        say('drained', { held: held.length });
      },
    };
  }),
);
