// Folders for what a test starts or writes. All are below the run's one scratch folder (left-behind.ts says why), in one of
// the test file's own. Vitest loads this module anew for every test file.
import { mkdtempSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { inject } from 'vitest';

/** Of this test file: what works below it was started by this file. */
export const fileFolder = mkdtempSync(join(inject('scratchFolder'), 'f-'));

/** A new private folder; it is removed at the end of the run. Its path is short enough for Unix sockets below it. */
export async function makeScratchFolder(name: string): Promise<string> {
  return mkdtemp(join(fileFolder, `${name}-`));
}
