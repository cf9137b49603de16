// Worker threads of a program inherit the preload: what they hold is on the pages of their process.
import { expect, test } from 'vitest';
import type { ThreadReport } from '../../../diagnostics/agent/messages.js';
import type { RecorderSnapshot } from '../../../diagnostics/model.js';
import { waitFor } from '../../harness/wait-for.js';
import { ask, startProgram } from './program.js';

/** Line 5 is the thread's leak. The main thread makes none like it. */
const SOURCE = `import { isMainThread, Worker } from 'node:worker_threads';
const kept = [];
if (isMainThread) new Worker(new URL(import.meta.url));
else {
  for (let i = 0; i < 30; i++) kept.push(new Promise(() => {}));
}
setInterval(() => {}, 1000);
`;

test('the promises of a worker thread are shown with its number, and it ends with its program', async () => {
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
  expect(threads).toMatchObject([{ thread: site.details['thread'], active: { Timeout: 1 } }]);
  expect(threads[0]?.heap.used).toBeGreaterThan(1_000_000);
  expect((await ask(socketPath, '/debug/handles')).text).toMatch(
    /^thread \d+, heap [\d.]+ MiB, keeps the process alive:/m,
  );
  const exited = new Promise((resolve) => child.once('exit', (_code, signal) => resolve(signal)));
  child.kill('SIGTERM');
  expect(await exited).toBe('SIGTERM');
});
