// A program that the service never needs, and measurements or tests do (a browser, a load generator): what is there, else its
// Debian package installed, where this process may, else an error that tells people what to do. Starts none.
import { ConfigurationError } from '../errors.js';
import { installCommand, installPackages } from './debian-packages.js';
import type { Machine } from './executables.js';
import { findFile } from './executables.js';

interface ProgramRequest {
  /** The file's, or names that others give to it, the preferred one first. */
  readonly names: readonly string[];
  readonly debianPackage: string;
  readonly machine: Machine;
  readonly report: (step: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Its absolute path. Throws `ConfigurationError` with the command to run. */
export async function provideProgram(request: ProgramRequest): Promise<string> {
  const { names, debianPackage, machine, report, signal } = request;
  const before = await findAny(names, machine);
  if (before !== undefined) return before;

  const command = installCommand([debianPackage]);
  const aptGet = machine.isRoot ? await findFile('apt-get', machine) : undefined;
  if (aptGet === undefined) {
    throw new ConfigurationError(`${names.join(' or ')} is missing. On Debian or Ubuntu run: sudo sh -c '${command}'.`);
  }
  const failure = await installPackages(aptGet, [debianPackage], report, signal);
  const after = await findAny(names, machine);
  if (after !== undefined) return after;
  const outcome = failure === undefined ? 'installed no such program' : `failed: ${failure}`;
  throw new ConfigurationError(`${names.join(' or ')} is missing. \`${command}\` ${outcome}. Install it by hand.`);
}

async function findAny(names: readonly string[], machine: Machine): Promise<string | undefined> {
  for (const name of names) {
    const path = await findFile(name, machine);
    if (path !== undefined) return path;
  }
  return undefined;
}
