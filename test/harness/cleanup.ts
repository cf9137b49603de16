// What a test file started ends with it, also when its tests fail. Vitest loads this module anew for every test file.
import { afterAll } from 'vitest';
import { endProcessesBelow } from './left-behind.js';
import { fileFolder } from './scratch.js';

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
  const left = await endProcessesBelow(fileFolder);
  if (left.length > 0) failures.push(new Error(`left processes behind:\n${left.join('\n')}`));
  if (failures.length > 0) throw new AggregateError(failures, 'could not clean up after the tests of this file');
});
