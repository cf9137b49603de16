// Makes a new MariaDB data folder with mariadb-install-db. It is made beside its place and moved there when complete: a
// folder that carries the right name is whole, whatever crashed when. Never touches a data folder that is there.
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rename, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ConfigurationError, messageOf } from '../errors.js';
import type { MariadbExecutables } from './executables.js';
import { makePrivateFolder } from './private-files.js';
import { ServerError } from './server-process.js';

const INSTALL_TIMEOUT_MS = 180_000;
/** Its end is what tells a half-made folder from a whole one. */
const PARTIAL_SUFFIX = '.partial-';

interface InstallContext {
  readonly report: (step: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Makes `folder` if it is missing. Throws `ConfigurationError` if something else is in its place, `ServerError` if it fails. */
export async function provideDataFolder(
  folder: string,
  executables: MariadbExecutables,
  context: InstallContext,
): Promise<void> {
  await removePartial(folder);
  if (await exists(folder)) {
    if (!(await exists(join(folder, 'mysql')))) {
      throw new ConfigurationError(`${folder} is not a MariaDB data folder. Move it away.`);
    }
    return;
  }
  context.report('Preparing the MariaDB data folder (once)');
  const partial = await mkdtemp(folder + PARTIAL_SUFFIX);
  await install(partial, executables, context.signal);
  await makePrivateFolder(partial);
  await rename(partial, folder);
}

/** The server refuses to run as root unless told so. */
export function runAsRoot(): string[] {
  return process.getuid?.() === 0 ? ['--user=root'] : [];
}

async function removePartial(folder: string): Promise<void> {
  const prefix = basename(folder) + PARTIAL_SUFFIX;
  const names = await readdir(dirname(folder));
  const partial = names.filter((name) => name.startsWith(prefix));
  await Promise.all(partial.map((name) => rm(join(dirname(folder), name), { recursive: true, force: true })));
}

/**
 * The script insists on `my_print_defaults`, which Debian ships in another package, even when told to read no
 * configuration; does not quote all paths; and as root changes the owner of a plug-in of the system's own MariaDB. So it
 * sees the installation through a folder of links without spaces: a my_print_defaults that prints nothing, and no plug-ins.
 */
async function install(folder: string, executables: MariadbExecutables, signal?: AbortSignal): Promise<void> {
  const view = await mkdtemp(join(tmpdir(), 'stampede-mariadb-'));
  try {
    await Promise.all([mkdir(join(view, 'bin')), mkdir(join(view, 'sbin'))]);
    await Promise.all([
      symlink('/bin/true', join(view, 'bin', 'my_print_defaults')),
      symlink(executables.server.path, join(view, 'sbin', 'mariadbd')),
      symlink(join(dirname(dirname(executables.server.path)), 'share'), join(view, 'share')),
      symlink(folder, join(view, 'data')),
    ]);
    const args = [
      '--no-defaults',
      `--basedir=${view}`,
      `--datadir=${join(view, 'data')}`,
      '--auth-root-authentication-method=socket',
      '--skip-test-db',
      // Asks for no host name: every account of ours is bound to an address.
      '--force',
      ...runAsRoot(),
    ];
    await promisify(execFile)(executables.installer, args, {
      timeout: INSTALL_TIMEOUT_MS,
      // Two at once would meet in the system's folder for temporary files.
      env: { ...process.env, TMPDIR: view },
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    signal?.throwIfAborted();
    const output = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    throw new ServerError(`mariadb-install-db failed: ${messageOf(error)} ${output}`, { cause: error });
  } finally {
    await rm(view, { recursive: true, force: true });
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
