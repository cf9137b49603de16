// Programs of Debian packages for tests that need a few files of them: downloaded once and unpacked below .stampede/test, not
// installed, so that nothing is started and the machine stays as it is.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { packagePath } from '../../platform/package-root.js';
import { makeScratchFolder } from './scratch.js';

const APT_LIMIT_MS = 180_000;
const run = promisify(execFile);

interface Request {
  /** Name of the folder. */
  readonly name: string;
  /** The package; asked for again after `apt-get update` where that is what is missing. */
  readonly packageName: () => Promise<string>;
  /** Of its files, with `*`, as tar takes them; without: all. */
  readonly files?: readonly string[];
}

/** The folder that stands for `/`. */
export async function unpackPackage({ name, packageName, files = [] }: Request): Promise<string> {
  const place = packagePath('.stampede', 'test', name);
  if (existsSync(place)) return place;
  const fresh = await makeScratchFolder('deb');
  const download = async () =>
    await run('apt-get', ['download', await packageName()], { cwd: fresh, timeout: APT_LIMIT_MS });
  await download().catch(async () => {
    await run('apt-get', ['update'], { timeout: APT_LIMIT_MS });
    await download();
  });
  const [archive] = await readdir(fresh);
  if (archive === undefined) throw new Error(`apt-get downloaded nothing for ${name}`);
  // Whole or not at all: a run that was stopped must not leave half of it, nor two at once share one.
  const part = await makeScratchFolder('unpacked');
  const unpack =
    'archive=$1 place=$2; shift 2; dpkg-deb --fsys-tarfile "$archive" | tar -x -C "$place" --wildcards "$@"';
  await run('sh', ['-c', unpack, 'unpack', join(fresh, archive), part, ...files], { timeout: APT_LIMIT_MS });
  await mkdir(dirname(place), { recursive: true });
  const half = `${place}.${process.pid}`;
  await cp(part, half, { recursive: true });
  // Another run may have been faster.
  await rename(half, place).catch(() => rm(half, { recursive: true, force: true }));
  return place;
}
