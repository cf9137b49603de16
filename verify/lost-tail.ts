// What a machine without power does to a Redis with `appendfsync everysec`: writes of up to a second are gone. A SIGKILL
// alone loses nothing, since the kernel has them. Touches the append-only files of a Redis that has ended.
import { readdir, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** What `everysec` may lose at the most. */
const LOST_MS = 1_000;

/** Kills the server and takes what it has written in the last second. */
export async function killAndCutBack(dataFolder: string, kill: () => Promise<void>): Promise<void> {
  const folder = join(dataFolder, 'appendonlydir');
  const before = await sizesIn(folder);
  await delay(LOST_MS);
  await kill();
  // A file that the server has begun meanwhile is whole: it was synced when it replaced the old one.
  for (const [file, size] of before) await truncate(file, size).catch(() => undefined);
}

async function sizesIn(folder: string): Promise<Map<string, number>> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.incr.aof'));
  const files = names.map((name) => join(folder, name));
  return new Map(await Promise.all(files.map(async (file) => [file, (await stat(file)).size] as const)));
}
