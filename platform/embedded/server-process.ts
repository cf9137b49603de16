// One run of a database server as a child process: started, waited for until it answers, stopped or killed. It gets a
// process group of its own, because a Ctrl-C in the terminal must reach only us: we decide when the databases end.
// Knows nothing of Redis or MariaDB (a ServerProgram does) and never restarts anything (server-watch.ts does).
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, renameSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { ConfigurationError } from '../errors.js';
import type { Log } from '../log.js';
import type { Executable } from './executables.js';
import { findFreePort, isPortTaken } from './free-port.js';
import { forgetProcess, processesIn, recordProcess, stopRecorded } from './process-record.js';

const PORT_ATTEMPTS_MAX = 5;
const POLL_MS = 50;
const PROGRESS_EVERY_MS = 5_000;
/** After SIGKILL: the kernel may still wait for a disk. */
const KILL_TIMEOUT_MS = 10_000;
/** A child that a killed server had forked, to rewrite its file say, ends by itself soon. */
const STRANGER_TIMEOUT_MS = 5_000;
const LOG_TAIL_LINES = 5;

/** What a server needs to be started; the port is decided at each start. */
export interface ServerProgram {
  /** `Redis` or `MariaDB`, for people. */
  readonly title: string;
  readonly executable: Executable;
  /** Working folder of the process, and what no second process may use. */
  readonly dataFolder: string;
  /** Begun afresh at every start; the one before is kept beside it. */
  readonly logFile: string;
  readonly recordFile: string;
  readonly startTimeoutMs: number;
  readonly stopTimeoutMs: number;
  /** Writes whatever configuration the start needs and returns the arguments. */
  prepare(port: number): Promise<string[]>;
  /** Includes the password. */
  url(port: number): string;
  /** Resolves when the server does its work, rejects (within seconds) while it does not. */
  probe(port: number): Promise<void>;
}

export interface StartContext {
  readonly log: Log;
  /** Progress for people, e.g. while a large file is loaded. */
  readonly report: (step: string) => void;
  /** Gives the start up and stops what was started. */
  readonly signal?: AbortSignal | undefined;
}

export interface ServerProcess {
  readonly pid: number;
  readonly port: number;
  readonly url: string;
  /** Resolves with how it ended, e.g. `exit code 1` or `signal SIGKILL`. */
  readonly exited: Promise<string>;
  /** The same, undefined while it runs. */
  end(): string | undefined;
  /** SIGTERM, after the program's time limit SIGKILL; resolves when it has ended. */
  stop(): Promise<void>;
  /** SIGKILL; resolves when it has ended. */
  kill(): Promise<void>;
}

/** A server of ours could not be started or stopped; the message quotes the end of its log. */
export class ServerError extends Error {
  override readonly name = 'ServerError';
}

/**
 * Makes sure that nobody serves the data folder: stops what an earlier run left behind, and throws `ConfigurationError`
 * if another process works there that cannot be proven to be ours. Two Redis on one folder start without complaint and lose data.
 */
export async function claimDataFolder(program: ServerProgram, log: Log): Promise<void> {
  await stopRecorded(program.recordFile, program.stopTimeoutMs, log);
  const deadline = Date.now() + STRANGER_TIMEOUT_MS;
  for (;;) {
    const [stranger] = await processesIn(program.dataFolder, program.executable.path);
    if (stranger === undefined) return;
    if (Date.now() > deadline) {
      throw new ConfigurationError(
        `${program.title}: process ${stranger} already serves ${program.dataFolder}. Stop it first (kill ${stranger}).`,
      );
    }
    await delay(POLL_MS);
  }
}

/** Starts the server on a port that the kernel chose, again on another one if somebody was quicker. */
export async function startOnFreePort(program: ServerProgram, context: StartContext): Promise<ServerProcess> {
  for (let attempt = 1; ; attempt++) {
    const port = await findFreePort();
    try {
      return await startServerProcess(program, port, context);
    } catch (error) {
      if (attempt === PORT_ATTEMPTS_MAX || !(error instanceof ServerError) || !(await isPortTaken(port))) throw error;
      context.log.warn({ server: program.title, port }, 'the port was taken meanwhile, trying another one');
    }
  }
}

/** Resolves when the server answers. Throws `ServerError` if it ends before that or takes longer than its limit. */
export async function startServerProcess(
  program: ServerProgram,
  port: number,
  context: StartContext,
): Promise<ServerProcess> {
  context.signal?.throwIfAborted();
  const server = await launch(program, port);
  try {
    await whenReady(program, server, context);
  } catch (error) {
    await server.stop();
    throw error;
  }
  context.log.info({ server: program.title, serverPid: server.pid, port }, 'server is ready');
  return server;
}

async function launch(program: ServerProgram, port: number): Promise<ServerProcess> {
  const [args, folder] = await Promise.all([program.prepare(port), realpath(program.dataFolder)]);
  if (existsSync(program.logFile)) renameSync(program.logFile, `${program.logFile}.previous`);
  const output = openSync(program.logFile, 'w', 0o600);
  let child: ChildProcess;
  try {
    child = spawn(program.executable.path, args, {
      ...(program.executable.argv0 === undefined ? {} : { argv0: program.executable.argv0 }),
      cwd: folder,
      detached: true,
      stdio: ['ignore', output, output],
      // Nothing of our own environment: both servers would talk to a service manager named there.
      env: { LC_ALL: 'C' },
    });
  } finally {
    closeSync(output);
  }
  if (child.pid === undefined) {
    const [error] = (await once(child, 'error')) as [Error];
    throw new ServerError(`${program.title} cannot be started: ${error.message}`, { cause: error });
  }
  const exited = once(child, 'exit').then(() => {
    forgetProcess(program.recordFile);
    return String(endOf(child));
  });
  recordProcess(program.recordFile, child.pid, folder);
  return {
    pid: child.pid,
    port,
    url: program.url(port),
    exited,
    end: () => endOf(child),
    stop: async () => {
      child.kill('SIGTERM');
      if (!(await settlesWithin(exited, program.stopTimeoutMs))) await kill(child, exited, program.title);
    },
    kill: () => kill(child, exited, program.title),
  };
}

function endOf(child: ChildProcess): string | undefined {
  if (child.signalCode !== null) return `signal ${child.signalCode}`;
  return child.exitCode === null ? undefined : `exit code ${child.exitCode}`;
}

async function kill(child: ChildProcess, exited: Promise<string>, title: string): Promise<void> {
  child.kill('SIGKILL');
  if (!(await settlesWithin(exited, KILL_TIMEOUT_MS))) {
    throw new ServerError(`${title}: process ${String(child.pid)} does not end.`);
  }
}

async function whenReady(program: ServerProgram, server: ServerProcess, context: StartContext): Promise<void> {
  const startedAt = Date.now();
  let reportAt = startedAt + PROGRESS_EVERY_MS;
  for (;;) {
    const answers = await program.probe(server.port).then(
      () => true,
      () => false,
    );
    const end = server.end();
    if (end !== undefined) {
      throw new ServerError(`${program.title} ended during its start (${end}).${logTail(program.logFile)}`);
    }
    if (answers) return;
    context.signal?.throwIfAborted();
    const waitedMs = Date.now() - startedAt;
    if (waitedMs > program.startTimeoutMs) {
      throw new ServerError(`${program.title} did not answer within ${waitedMs} ms.${logTail(program.logFile)}`);
    }
    if (Date.now() > reportAt) {
      context.report(`${program.title} loads or recovers its data (${Math.round(waitedMs / 1_000)} s)`);
      reportAt += PROGRESS_EVERY_MS;
    }
    await delay(POLL_MS);
  }
}

function logTail(file: string): string {
  try {
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n').slice(-LOG_TAIL_LINES);
    return ` The end of ${file}:\n${lines.join('\n')}`;
  } catch {
    return '';
  }
}

async function settlesWithin(promise: Promise<unknown>, limitMs: number): Promise<boolean> {
  const timer = new AbortController();
  try {
    return await Promise.race([
      promise.then(() => true),
      delay(limitMs, false, { signal: timer.signal }).catch(() => false),
    ]);
  } finally {
    timer.abort();
  }
}
