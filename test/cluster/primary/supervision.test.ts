// Supervision with real processes: deaths, restarts, and the deaths that end it all.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { EXIT } from '../../../cluster/exit-codes.js';
import { ask } from '../../diagnostics/agent/program.js';
import { processesBelow } from '../../harness/left-behind.js';
import { waitFor } from '../../harness/wait-for.js';
import { startInstance } from './instance.js';

/** Longer than the 50 pings of 100 ms after which a silent worker is killed. */
const STANDSTILL_MS = 7_000;
const STANDSTILL_TEST_TIMEOUT_MS = 60_000;

describe('a worker', () => {
  it('keeps a tick; of role http it has a large nursery, and no guesses of what will live long', async () => {
    const instance = await startInstance({ httpWorkers: 1 });
    await instance.whenAllReady();
    const wanted = ['--max-semi-space-size=64', '--min-semi-space-size=64', '--no-allocation-site-pretenuring'];
    const workers = instance.processes().map(({ pid, role }) => {
      const given = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      const keepsTick = given.some((option) => /^--import=file:.*\/platform\/next-tick\.js$/.test(option));
      return { role, large: wanted.every((option) => given.includes(option)), keepsTick };
    });
    expect(workers.filter(({ large }) => large).map(({ role }) => role)).toEqual(['http']);
    expect(workers.filter(({ keepsTick }) => !keepsTick).map(({ role }) => role)).toEqual(['primary']);
    instance.tell('stop');
    expect(await instance.ended()).toEqual({ code: EXIT.ok });
  });
});

describe('a worker that dies', () => {
  it('is replaced under the same name after kill -9, and the others are left alone', async () => {
    const instance = await startInstance({ httpWorkers: 2 });
    await instance.whenAllReady();
    const before = instance.processes();
    const victim = await instance.whenReady('http-1');

    process.kill(victim.pid, 'SIGKILL');

    const successor = await instance.whenReady('http-1', victim.pid);
    expect(successor.restarts).toBe(1);
    const others = (list: typeof before) => list.filter(({ name }) => name !== 'http-1').map(({ pid }) => pid);
    expect(others(instance.processes())).toEqual(others(before));
    instance.tell('stop');
    expect(await instance.ended()).toEqual({ code: EXIT.ok });
  });

  it('comes back when its surroundings are right again, and the others go on meanwhile', async () => {
    const instance = await startInstance({ httpWorkers: 2 });
    await instance.whenAllReady();
    const victim = await instance.whenReady('http-1');
    const other = await instance.whenReady('http-2');
    await instance.plan({ 'http-1': { onStart: 'configuration' } });

    process.kill(victim.pid, 'SIGKILL');

    const refusals = () => instance.lines.filter(({ msg, worker }) => msg === 'worker exited' && worker === 'http-1');
    // Its own death, and two starts that found something wrong.
    await waitFor(() => refusals().length >= 3, { what: 'two starts in vain' });
    await instance.plan({});
    await instance.whenReady('http-1', victim.pid);
    expect((await instance.whenReady('http-2')).pid).toBe(other.pid);
    instance.tell('stop');
    expect(await instance.ended()).toEqual({ code: EXIT.ok });
  });

  it('waits for its restart in the state backoff, and a stop then is no complete drain', async () => {
    // The wait itself is up to 10 minutes: the test ends with the instance.
    const limits = { backoffMinMs: 600_000, backoffMaxMs: 600_000 };
    const instance = await startInstance({ limits });
    const victim = await instance.whenReady('ledger-1');
    process.kill(victim.pid, 'SIGKILL');
    await waitFor(() => instance.processes().some(({ name, state }) => name === 'ledger-1' && state === 'backoff'), {
      what: 'the backoff of ledger-1',
    });
    instance.tell('stop');
    expect((await instance.ended()).code).toBe(EXIT.drainIncomplete);
  });

  it('is replaced when it is hung: stopped, it answers no ping and is killed', async () => {
    const instance = await startInstance({ limits: { heartbeatIntervalMs: 100, heartbeatMissesMax: 50 } });
    const hung = await instance.whenReady('http-1');

    process.kill(hung.pid, 'SIGSTOP');

    await instance.whenReady('http-1', hung.pid);
    expect(instance.lines.some(({ msg, worker }) => msg?.includes('does not answer') && worker === 'http-1')).toBe(
      true,
    );
  });

  it(
    'is not taken for hung while it stands still for a heap snapshot, and is again afterwards',
    async () => {
      const instance = await startInstance({
        plans: { http: { standsStillMs: STANDSTILL_MS } },
        limits: { heartbeatIntervalMs: 100, heartbeatMissesMax: 50 },
        environment: { DIAGNOSTICS: 'on' },
      });
      const { pid } = await instance.whenReady('http-1');
      const socket = join(instance.folder, '.stampede', 'run', 'http-1.sock');
      await waitFor(() => existsSync(socket), { what: 'the agent' });

      const { status } = await ask(socket, '/debug/heap/snapshot');

      expect(status).toBe(200);
      await waitFor(() => instance.lines.some(({ event }) => event === 'goes on'), {
        what: 'the end of the standstill',
      });
      expect(instance.processes().find(({ name }) => name === 'http-1')?.pid).toBe(pid);
      process.kill(pid, 'SIGSTOP');
      await instance.whenReady('http-1', pid);
    },
    STANDSTILL_TEST_TIMEOUT_MS,
  );

  it('is replaced after a rejection that nobody handled, which is logged with its stack', async () => {
    const instance = await startInstance({ plans: { admin: { onStart: 'crash later' } } });
    const logged = await waitFor(() => instance.lines.find(({ msg }) => msg === 'worker failed'), { what: 'the log' });
    expect(JSON.stringify(logged)).toContain('test-actors.mjs');
    await instance.plan({});
    const admin = await instance.whenReady('admin-1', logged.pid);
    expect(admin.restarts).toBeGreaterThan(0);
  });
});

describe('what ends the primary', () => {
  it.each([
    ['at the start', 'configuration', 'TEST_PLAN is wrong.'],
    ['found later', 'fail later', 'TEST_PLAN was wrong.'],
  ] as const)('a wrong configuration %s, with its one line', async (_when, onStart, message) => {
    const instance = await startInstance({ plans: { ledger: { onStart } } });
    expect(await instance.ended()).toEqual({ code: EXIT.configuration, message });
    expect(instance.process.exitCode).toBe(78);
    expect(await processesBelow(instance.folder)).toEqual([]);
  });

  it('a crash loop before the start, while the other workers are drained', async () => {
    const limits = { backoffMinMs: 1, backoffMaxMs: 1, deathsBeforeStartMax: 3 };
    const instance = await startInstance({ plans: { ledger: { onStart: 'crash' } }, limits });
    const ending = await instance.ended();
    expect(ending.code).toBe(EXIT.crashLoop);
    expect(ending.message).toMatch(/^ledger-1 died 3 times in a row before it had started \(last: exit code 1\)$/);
    expect(instance.lines.filter(({ actor, event }) => actor === 'ledger-1' && event === 'starting')).toHaveLength(3);
  });
});

describe('a worker that is not ready', () => {
  it('is neither dead nor restarted, and says why', async () => {
    const plans = { http: { unreadyReasons: ['redis_unavailable'] } };
    const instance = await startInstance({ plans, limits: { deathsBeforeStartMax: 1 } });
    const http = await waitFor(
      () => instance.processes().find(({ name, state }) => name === 'http-1' && state === 'unready'),
      {
        what: 'the unready process',
      },
    );
    expect(http).toMatchObject({ unreadyReasons: ['redis_unavailable'], restarts: 0 });
    await instance.whenReady('ledger-1');
    await instance.whenReady('admin-1');
    expect(instance.processes().find(({ name }) => name === 'http-1')).toEqual(http);
  });
});

describe('a worker that asks', () => {
  it('learns of every process of the instance', async () => {
    const instance = await startInstance({ plans: { admin: { asks: true } } });
    const answer = await waitFor(() => instance.lines.find(({ event }) => event === 'processes'), {
      what: 'the answer',
    });
    const names = answer.processes?.map(({ name }) => name);
    expect(names).toEqual(['primary', 'http-1', 'ledger-1', 'admin-1']);
    expect(answer.processes?.[0]?.pid).toBe(instance.process.pid);
  });
});

describe('a primary that is killed', () => {
  it('leaves workers that drain and exit by themselves', async () => {
    const instance = await startInstance({ httpWorkers: 2 });
    await instance.whenAllReady();

    instance.process.kill('SIGKILL');

    await waitFor(async () => (await processesBelow(instance.folder)).length === 0, { what: 'all workers to exit' });
    const drained = instance.lines.filter(({ event }) => event === 'drained').map(({ actor }) => actor);
    expect(drained.toSorted()).toEqual(['admin-1', 'http-1', 'http-2', 'ledger-1']);
  });
});
