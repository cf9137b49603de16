// Worker threads of a program inherit the preload: what they hold is on the pages of their process.
import { expect, test } from 'vitest';
import type { ThreadReport } from '../../../diagnostics/agent/messages.js';
import type { RecorderSnapshot } from '../../../diagnostics/model.js';
import { waitFor } from '../../harness/wait-for.js';
import { decode, valueOf } from '../endpoints/pprof-samples.js';
import { ask, startProgram } from './program.js';

/** Line 5 is the thread's leak, `burn` and `keep` are its work. The main thread has none like it. */
const SOURCE = `import { isMainThread, Worker } from 'node:worker_threads';
const kept = [];
if (isMainThread) new Worker(new URL(import.meta.url));
else {
  for (let i = 0; i < 30; i++) kept.push(new Promise(() => {}));
  setInterval(() => {
    burn(Date.now() + 20);
    keep();
  }, 40);
}
function burn(untilMs) {
  while (Date.now() < untilMs);
}
function keep() {
  kept.push(new Array(50_000).fill(kept.length));
}
setInterval(() => {}, 1000);
`;

test('a worker thread is shown with its number, profiled when asked, and ends with its program', async () => {
  const { child, socketPath } = await startProgram(SOURCE);
  const site = await waitFor(
    async () => {
      const snapshot = JSON.parse((await ask(socketPath, '/debug/promises?format=json')).text) as RecorderSnapshot;
      return snapshot.sites.find(({ stack }) => stack[0]?.line === 5);
    },
    { what: 'the promises of the thread' },
  );
  expect(site).toMatchObject({ kind: 'promise', live: 30 });
  expect(site.details['thread']).toBeGreaterThan(0);
  const { threads } = JSON.parse((await ask(socketPath, '/debug/handles?format=json')).text) as {
    threads: ThreadReport[];
  };
  expect(threads).toMatchObject([{ thread: site.details['thread'], active: { Timeout: 2 } }]);
  expect(threads[0]?.heap.used).toBeGreaterThan(1_000_000);
  expect((await ask(socketPath, '/debug/handles')).text).toMatch(
    /^thread \d+, heap [\d.]+ MiB, keeps the process alive:/m,
  );
  const thread = threads[0]?.thread ?? 0;
  for (const { page, functionName } of [
    { page: 'profile', functionName: 'burn' },
    { page: 'heap', functionName: 'keep' },
  ]) {
    const ofThread = decode((await ask(socketPath, `/debug/${page}?seconds=0.5&thread=${thread}`)).body);
    const ofMain = decode((await ask(socketPath, `/debug/${page}?seconds=0.2`)).body);
    expect(valueOf(ofThread.samples, functionName)).toBeGreaterThan(0);
    expect(valueOf(ofMain.samples, functionName)).toBe(0);
  }
  const unknown = await ask(socketPath, '/debug/profile?seconds=0.1&thread=999');
  expect(unknown.status).toBe(404);
  expect(unknown.text).toContain(`worker threads ${thread}`);

  const exited = new Promise((resolve) => child.once('exit', (_code, signal) => resolve(signal)));
  child.kill('SIGTERM');
  expect(await exited).toBe('SIGTERM');
});
