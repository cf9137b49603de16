// Another version of Node to measure with: npm's package of it, fetched by npx into its cache.
import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { promisify } from 'node:util';

const FETCH_TIMEOUT_MS = 180_000;

/** Path of its executable, e.g. of version `24.9.0`; undefined when it cannot be had, e.g. without a network. */
export async function fetchNode(version: string, signal: AbortSignal): Promise<string | undefined> {
  const args = ['--yes', '--package', `node@${version}`, 'node', '-p', 'process.execPath'];
  const options = { cwd: tmpdir(), timeout: FETCH_TIMEOUT_MS, signal };
  const path = await promisify(execFile)('npx', args, options).then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  );
  signal.throwIfAborted();
  return path;
}
