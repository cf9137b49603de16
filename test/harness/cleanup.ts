// What a test file started ends with it, also when its tests fail. Vitest loads this module anew for every test file.
import { afterAll, inject } from 'vitest';
import { endProcessesBelow } from './left-behind.js';

type Cleanup = () => Promise<unknown>;

const cleanups: Cleanup[] = [];

/** Runs `cleanup` after the last test of the file, the newest first, whatever happens to the others. */
export function atEndOfFile(cleanup: Cleanup): void {
  cleanups.push(cleanup);
}

afterAll(async () => {
  const failures: unknown[] = [];
  for (const cleanup of cleanups.splice(0).reverse()) {
    await cleanup().catch((error: unknown) => failures.push(error));
  }
  // Files run one after the other, so what works in the scratch folder now is this file's.
  const left = await endProcessesBelow(inject('scratchFolder'));
  if (left.length > 0) failures.push(new Error(`left processes behind:\n${left.join('\n')}`));
  if (failures.length > 0) throw new AggregateError(failures, 'could not clean up after the tests of this file');
});
