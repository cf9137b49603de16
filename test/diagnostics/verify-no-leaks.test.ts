// verifyNoLeaks in the suite that it is for.
import { EventEmitter, once } from 'node:events';
import { afterAll, beforeEach, expect, it } from 'vitest';
import { verifyNoLeaks } from '../../diagnostics/verify-no-leaks.js';

const GRACE_MS = 200;
const leaks = verifyNoLeaks({ graceMs: GRACE_MS });
beforeEach(() => leaks.begin());
afterAll(() => leaks.stop());

it('passes a test that leaves nothing', async () => {
  await new Promise((resolve) => setTimeout(resolve, 1));
  await expect(leaks.end()).resolves.toBeUndefined();
});

it('waits for what ends soon', async () => {
  setTimeout(() => undefined, GRACE_MS / 4);
  await expect(leaks.end()).resolves.toBeUndefined();
});

it('names the file of a timer that is left, until it is cleared', async () => {
  const left = setInterval(() => undefined, 10_000);
  await expect(leaks.end()).rejects.toThrow(/1 Interval, made\n.*verify-no-leaks\.test\.ts/);
  clearInterval(left);
  await expect(leaks.end()).resolves.toBeUndefined();
});

it('names a promise that is left, until it settles', async () => {
  const emitter = new EventEmitter();
  const left = once(emitter, 'never');
  await expect(leaks.end()).rejects.toThrow(/PROMISE, made\n.*verify-no-leaks\.test\.ts/);
  emitter.emit('never');
  await left;
  await expect(leaks.end()).resolves.toBeUndefined();
});

it('is there for suites of other projects, by the name of the package', async () => {
  const name = 'stampede/diagnostics/verify-no-leaks';
  const exported = (await import(name)) as Record<string, unknown>;
  expect(Object.keys(exported)).toEqual(['verifyNoLeaks']);
});
