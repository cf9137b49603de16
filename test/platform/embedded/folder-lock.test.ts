import { statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { lockFolder } from '../../../platform/embedded/folder-lock.js';
import { ConfigurationError } from '../../../platform/errors.js';
import { makeScratchFolder } from '../../harness/scratch.js';
import { startOtherProcess } from './embedded-harness.js';

const LOCK_AND_STAY = (folder: string): string =>
  `import { lockFolder } from 'dist/platform/embedded/folder-lock.js';
   await lockFolder(${JSON.stringify(folder)});
   setInterval(() => undefined, 1_000);
   console.log('locked');`;

describe('lockFolder', () => {
  it('makes the folder, for its user alone', async () => {
    const folder = join(await makeScratchFolder('lock'), 'new', 'folder');
    const lock = await lockFolder(folder);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    await lock.release();
  });

  it('refuses a folder that a running process holds, naming it, and takes over when that process is killed', async () => {
    const folder = await makeScratchFolder('lock');
    const holder = await startOtherProcess(folder, LOCK_AND_STAY(folder));
    const refused = lockFolder(folder);
    await expect(refused).rejects.toThrow(ConfigurationError);
    await expect(refused).rejects.toThrow(`STAMPEDE_DIR (${folder}) is in use by process ${holder.pid}`);

    await holder.kill();
    const lock = await lockFolder(folder);
    await lock.release();
  });

  it('lets exactly one of many starters in', async () => {
    const folder = await makeScratchFolder('lock');
    const starts = await Promise.allSettled(Array.from({ length: 20 }, () => lockFolder(folder)));
    const locks = starts.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []));
    expect(locks).toHaveLength(1);
    await locks[0]?.release();
  });

  it('can be taken again after its release, and released twice', async () => {
    const folder = await makeScratchFolder('lock');
    const first = await lockFolder(folder);
    await first.release();
    await first.release();
    const second = await lockFolder(folder);
    await second.release();
  });
});
