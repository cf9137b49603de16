import { promiseHooks } from 'node:v8';
import { expect, it } from 'vitest';
import { within } from '../../platform/within.js';
import '../harness/no-leaks.js';

it('gives what comes in time, and else the fallback', async () => {
  expect(await within(10_000, Promise.resolve('answer'), 'too late')).toBe('answer');
  let answerLate = (): void => undefined;
  const late = new Promise<string>((resolve) => {
    answerLate = () => {
      resolve('answer');
    };
  });
  expect(await within(1, late, 'too late')).toBe('too late');
  answerLate();
  await expect(within(10_000, Promise.reject(new Error('refused')), 'too late')).rejects.toThrow('refused');
});

it('leaves no promise of its own unsettled', async () => {
  const answer = Promise.resolve('answer');
  const unsettled = new Set<object>();
  const hook = {
    init: (promise: object) => {
      unsettled.add(promise);
    },
    settled: (promise: object) => {
      unsettled.delete(promise);
    },
  };
  const stop = promiseHooks.createHook(hook) as unknown as () => void;
  const waited = within(10_000, answer, 'too late');
  const made = [...unsettled];
  await waited;
  await new Promise(setImmediate);
  stop();
  expect(made.length).toBeGreaterThan(2);
  expect(made.filter((promise) => unsettled.has(promise))).toEqual([]);
});
