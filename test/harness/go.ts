// `go tool pprof`, the real one: the machine's where it has Go, else of Debian's package, of which only this tool is unpacked.
import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findFile, thisMachine } from '../../platform/embedded/executables.js';
import { makeScratchFolder } from './scratch.js';
import { unpackPackage } from './unpacked-package.js';

/** Depends on the package of one version of Go, which holds the programs. */
const PACKAGE = 'golang-go';
const RUN_LIMIT_MS = 60_000;
/** A test that may have to download it: 60 MB. */
export const GO_TEST_TIMEOUT_MS = 300_000;
const run = promisify(execFile);

/** What `go tool pprof` prints on standard output. Rejects when it does not take the profile. */
export type GoPprof = (...args: string[]) => Promise<string>;

export async function provideGoPprof(): Promise<GoPprof> {
  const go = (await findFile('go', thisMachine())) ?? (await unpackedGo());
  // It keeps a copy of what it fetches.
  const env = { PATH: process.env['PATH'], HOME: await makeScratchFolder('go') };
  return async (...args) => {
    const { stdout } = await run(go, ['tool', 'pprof', ...args], { env, timeout: RUN_LIMIT_MS });
    return stdout;
  };
}

async function unpackedGo(): Promise<string> {
  const place = await unpackPackage({
    name: PACKAGE,
    packageName: packageOfThisVersion,
    files: ['./usr/lib/go-*/bin/go', './usr/lib/go-*/pkg/tool/*/pprof'],
  });
  const [version] = await readdir(join(place, 'usr', 'lib'));
  if (version === undefined) throw new Error(`no Go in the package of ${PACKAGE}`);
  return join(place, 'usr', 'lib', version, 'bin', 'go');
}

async function packageOfThisVersion(): Promise<string> {
  const { stdout } = await run('apt-cache', ['depends', PACKAGE], { timeout: RUN_LIMIT_MS });
  const found = /Depends: (golang-[\d.]+-go)/.exec(stdout)?.[1];
  if (found === undefined) throw new Error(`${PACKAGE} depends on no package of a version`);
  return found;
}
