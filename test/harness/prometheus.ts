// The real prometheus and promtool of Debian. Installing the package would start a service on a machine with systemd, so it is only
// unpacked, once, below .stampede/test.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { findFreePort } from '../../platform/embedded/free-port.js';
import { atEndOfFile } from './cleanup.js';
import { makeScratchFolder } from './scratch.js';
import { unpackPackage } from './unpacked-package.js';
import { waitFor } from './wait-for.js';

const PACKAGE = 'prometheus';
const READY_LIMIT_MS = 60_000;
const QUERY_LIMIT_MS = 10_000;

export interface PrometheusPrograms {
  readonly prometheus: string;
  readonly promtool: string;
}

export async function providePrometheus(): Promise<PrometheusPrograms> {
  const place = await unpackPackage({ name: PACKAGE, packageName: () => Promise.resolve(PACKAGE) });
  return { prometheus: join(place, 'usr', 'bin', 'prometheus'), promtool: join(place, 'usr', 'bin', 'promtool') };
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
