// Folders for what a test starts or writes. All are below the run's one scratch folder (left-behind.ts says why).
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { inject } from 'vitest';

/** A new private folder; it is removed at the end of the run. Its path is short enough for Unix sockets below it. */
export async function makeScratchFolder(name: string): Promise<string> {
  return mkdtemp(join(inject('scratchFolder'), `${name}-`));
}
