// The real prometheus and promtool of Debian. Installing the package would start a service on a machine with systemd, so it is only
// unpacked, once, below .stampede/test.
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, rename, rm } from 'node:fs/promises';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findFreePort } from '../../platform/embedded/free-port.js';
import { packagePath } from '../../platform/package-root.js';
import { atEndOfFile } from './cleanup.js';
import { makeScratchFolder } from './scratch.js';
import { waitFor } from './wait-for.js';

const PACKAGE = 'prometheus';
const APT_LIMIT_MS = 180_000;
const READY_LIMIT_MS = 60_000;
const QUERY_LIMIT_MS = 10_000;
const run = promisify(execFile);

export interface PrometheusPrograms {
  readonly prometheus: string;
  readonly promtool: string;
}

export async function providePrometheus(): Promise<PrometheusPrograms> {
  const place = packagePath('.stampede', 'test', PACKAGE);
  const programs = {
    prometheus: join(place, 'usr', 'bin', 'prometheus'),
    promtool: join(place, 'usr', 'bin', 'promtool'),
  };
  if (existsSync(programs.promtool)) return programs;
  const fresh = await makeScratchFolder('deb');
  const download = async () => await run('apt-get', ['download', PACKAGE], { cwd: fresh, timeout: APT_LIMIT_MS });
  await download().catch(async () => {
    await run('apt-get', ['update'], { timeout: APT_LIMIT_MS });
    await download();
  });
  const [archive] = await readdir(fresh);
  if (archive === undefined) throw new Error(`apt-get downloaded no ${PACKAGE}`);
  // Whole or not at all: a run that was stopped must not leave half of it.
  await rm(place, { recursive: true, force: true });
  await run('dpkg-deb', ['--extract', join(fresh, archive), `${place}.part`], { timeout: APT_LIMIT_MS });
  await rename(`${place}.part`, place);
  return programs;
}

export interface TestPrometheus {
  readonly url: string;
  /** The values that a query has now; empty when it finds nothing. Rejects when Prometheus does not take it. */
  query(expr: string): Promise<number[]>;
}

/** Ends with the test file. `config` is the path of its configuration. */
export async function startPrometheus(program: string, config: string): Promise<TestPrometheus> {
  const folder = await makeScratchFolder('tsdb');
  const port = await findFreePort();
  const options = [
    `--config.file=${config}`,
    `--storage.tsdb.path=${folder}`,
    `--web.listen-address=127.0.0.1:${port}`,
  ];
  let log = '';
  const child = spawn(program, options, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text));
  const exited = once(child, 'exit');
  atEndOfFile(async () => {
    child.kill('SIGTERM');
    await exited;
  });
  const url = `http://127.0.0.1:${port}`;
  const isReady = async (): Promise<boolean> => {
    if (child.exitCode !== null) throw new Error(`prometheus ended: ${log.slice(-2_000)}`);
    return (await fetch(`${url}/-/ready`)).ok;
  };
  await waitFor(isReady, { what: 'prometheus to be ready', timeoutMs: READY_LIMIT_MS });
  return {
    url,
    query: async (expr) => {
      const response = await fetch(`${url}/api/v1/query`, {
        method: 'POST',
        body: new URLSearchParams({ query: expr }),
        signal: AbortSignal.timeout(QUERY_LIMIT_MS),
      });
      const answer = (await response.json()) as {
        status: string;
        error?: string;
        data?: { result: { value: [number, string] }[] };
      };
      if (answer.status !== 'success') throw new Error(`${answer.error ?? response.status}: ${expr}`);
      return (answer.data?.result ?? []).map(({ value }) => Number(value[1]));
    },
  };
}
