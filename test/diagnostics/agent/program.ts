// Plain JavaScript programs in a folder of their own, run with nothing of this project but the register preload.
import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import path from 'node:path';
import { promisify } from 'node:util';
import { atEndOfFile } from '../../harness/cleanup.js';
import { makeScratchFolder } from '../../harness/scratch.js';
import { waitFor } from '../../harness/wait-for.js';

const REPOSITORY = path.resolve(import.meta.dirname, '../../..');
const REQUEST_TIMEOUT_MS = 30_000;

export interface Program {
  readonly folder: string;
  readonly child: ChildProcess;
  readonly socketPath: string;
  /** What it has written to standard output so far. */
  output(): string;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly text: string;
}

/** A folder that has this package installed and `app.mjs` with `source`. */
export async function makeProgram(source: string): Promise<string> {
  const folder = await makeScratchFolder('app');
  await mkdir(path.join(folder, 'node_modules'));
  await symlink(REPOSITORY, path.join(folder, 'node_modules', 'stampede'));
  await writeFile(path.join(folder, 'app.mjs'), source);
  return folder;
}

export const PRELOAD = ['--import', 'stampede/diagnostics/register'];

/** Runs `app.mjs` to its end. */
export async function runProgram(
  folder: string,
  env: NodeJS.ProcessEnv = {},
): Promise<{ stdout: string; stderr: string }> {
  const options = { cwd: folder, env: { ...process.env, ...env }, timeout: REQUEST_TIMEOUT_MS };
  return promisify(execFile)(process.execPath, [...PRELOAD, 'app.mjs'], options);
}

/** Starts `app.mjs` and waits until its agent answers. It is ended with the test file. */
export async function startProgram(source: string, env: NodeJS.ProcessEnv = {}): Promise<Program> {
  const folder = await makeProgram(source);
  const child = spawn(process.execPath, [...PRELOAD, 'app.mjs'], {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  atEndOfFile(async () => endProgram(child));
  const socketPath = path.join(folder, '.stampede', 'run', `${String(child.pid)}.sock`);
  await waitFor(async () => (await ask(socketPath, '/debug/eventloop')).status === 200, {
    what: 'the agent to answer',
  });
  return { folder, child, socketPath, output: () => output };
}

export async function endProgram(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exited;
}

/** One request to an agent. */
export async function ask(
  socketPath: string,
  target: string,
  options: { readonly method?: string; readonly headers?: Record<string, string> } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(
      { socketPath, path: target, timeout: REQUEST_TIMEOUT_MS, agent: false, ...options },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.once('error', reject);
        response.once('end', () => {
          const body = Buffer.concat(chunks);
          const { statusCode: status = 0, headers } = response;
          resolve({ status, headers, body, text: body.toString() });
        });
      },
    );
    sent.once('timeout', () => sent.destroy(new Error(`${target} took longer than ${REQUEST_TIMEOUT_MS} ms`)));
    sent.once('error', reject);
    sent.end();
  });
}
