// One service instance under test: `stampede start` as a process of its own, with its folder, ports and databases. May be
// stopped, killed and started again on the same ports; knows its workers by role.
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { packagePath } from '../platform/package-root.js';

/** Longer than the drain of all roles together takes at the most. */
const STOP_TIMEOUT_MS = 90_000;
const KILL_TIMEOUT_MS = 10_000;
/** Workers whose primary is gone drain, for DRAIN_TIMEOUT_MS (20 s) at the most. */
const ORPHAN_TIMEOUT_MS = 25_000;
const POLL_MS = 50;
const READY_TIMEOUT_MS = 1_000;

export type Role = 'http' | 'ledger' | 'admin';

export interface InstanceOptions {
  /** 1 or 2. */
  readonly number: number;
  /** STAMPEDE_DIR, made if it is not there. */
  readonly dir: string;
  readonly port: number;
  readonly adminPort: number;
  readonly adminToken: string;
  /** REDIS_URL, MYSQL_URL and what else differs from the defaults. */
  readonly environment: Readonly<Record<string, string>>;
  /** It ended though nobody had asked it to, or a part of it did not end though it should have. */
  readonly onSurprise: (what: string) => void;
}

export class Instance {
  readonly url: string;
  readonly adminUrl: string;
  readonly #options: InstanceOptions;
  #child: ChildProcess | undefined;
  /** True from the moment that somebody wants it to end. */
  #expected = false;

  constructor(options: InstanceOptions) {
    this.#options = options;
    this.url = `http://127.0.0.1:${options.port}`;
    this.adminUrl = `http://127.0.0.1:${options.adminPort}`;
    mkdirSync(options.dir, { recursive: true, mode: 0o700 });
  }

  get number(): number {
    return this.#options.number;
  }

  get adminToken(): string {
    return this.#options.adminToken;
  }

  /** What it says goes there, through every start. */
  get logFile(): string {
    return join(this.#options.dir, 'service.log');
  }

  /** Returns at once; `/readyz` says when it is ready. Its output goes to `service.log` in its folder. */
  start(): void {
    const { number, dir, port, adminPort, adminToken, environment, onSurprise } = this.#options;
    const log = openSync(this.logFile, 'a', 0o600);
    const child = spawn(process.execPath, [packagePath('bin', 'stampede.js'), 'start'], {
      cwd: dir,
      env: {
        PATH: process.env['PATH'],
        HOME: process.env['HOME'],
        PORT: String(port),
        ADMIN_PORT: String(adminPort),
        ADMIN_TOKEN: adminToken,
        STAMPEDE_DIR: dir,
        ...environment,
      },
      // A group of its own: a Ctrl-C in the terminal reaches this program alone, which decides what ends when.
      detached: true,
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    this.#child = child;
    this.#expected = false;
    child.once('exit', (code, signal) => {
      if (this.#expected || this.#child !== child) return;
      onSurprise(`instance ${number} ended by itself: ${signal ?? `exit code ${String(code)}`}`);
    });
  }

  /** True between a start and the end of the primary. */
  get running(): boolean {
    return this.#child !== undefined && !hasEnded(this.#child);
  }

  /** What `/readyz` says. */
  async isReady(): Promise<boolean> {
    return await fetch(`${this.url}/readyz`, { signal: AbortSignal.timeout(READY_TIMEOUT_MS) }).then(
      (response) => response.ok,
      () => false,
    );
  }

  /** Throws when the primary does not run. */
  signal(signal: NodeJS.Signals): void {
    if (this.#child?.kill(signal) !== true) throw new Error(`instance ${this.number} does not run`);
  }

  /** Ends it in order; resolves with how it ended. Kills it when that takes longer than all drains together may. */
  async stop(): Promise<string> {
    const child = this.#child;
    if (child === undefined || hasEnded(child)) return 'had ended';
    this.#expected = true;
    child.kill('SIGTERM');
    if (!(await endsWithin(child, STOP_TIMEOUT_MS))) return await this.kill();
    return child.signalCode ?? `exit code ${String(child.exitCode)}`;
  }

  /** SIGKILL of the primary, and the end of its workers, which notice by themselves; those that do not are killed too. */
  async kill(): Promise<string> {
    const child = this.#child;
    if (child === undefined || hasEnded(child)) return 'had ended';
    const workers = this.#workers();
    this.#expected = true;
    child.kill('SIGKILL');
    await endsWithin(child, KILL_TIMEOUT_MS);
    const deadline = Date.now() + ORPHAN_TIMEOUT_MS;
    const left = (): Worker[] => workers.filter((worker) => isSame(worker));
    while (left().length > 0 && Date.now() < deadline) await delay(POLL_MS);
    for (const worker of left()) {
      this.#options.onSurprise(
        `${worker.name} of instance ${this.number} outlived its primary by ${ORPHAN_TIMEOUT_MS} ms`,
      );
      process.kill(worker.pid, 'SIGKILL');
    }
    return 'SIGKILL';
  }

  /** Process ids of the workers of one role, in a stable order; empty while it starts. */
  workers(role: Role): number[] {
    return this.#workers()
      .filter((worker) => worker.role === role)
      .sort((a, b) => a.name.localeCompare(b.name))
      .map((worker) => worker.pid);
  }

  #workers(): Worker[] {
    const primary = this.#child?.pid;
    if (primary === undefined || !this.running) return [];
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((name) => workerOf(Number(name), primary) ?? []);
  }
}

interface Worker {
  readonly pid: number;
  readonly name: string;
  readonly role: string;
  readonly startTicks: string;
}

/** The process if it is a worker of this primary. Linux only (/proc). */
function workerOf(pid: number, primary: number): Worker | undefined {
  try {
    const { parent, startTicks } = statOf(pid);
    if (parent !== primary) return undefined;
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
    const read = (variable: string): string | undefined =>
      new RegExp(`(?:^|\\0)${variable}=([^\\0]+)`).exec(environment)?.[1];
    const [name, role] = [read('STAMPEDE_NAME'), read('STAMPEDE_ROLE')];
    return name === undefined || role === undefined ? undefined : { pid, name, role, startTicks };
  } catch {
    // Ended meanwhile.
    return undefined;
  }
}

function isSame(worker: Worker): boolean {
  try {
    const { startTicks, state } = statOf(worker.pid);
    return startTicks === worker.startTicks && state !== 'Z';
  } catch {
    return false;
  }
}

function statOf(pid: number): { state: string | undefined; parent: number; startTicks: string } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name in field 2 may hold spaces and parentheses: count from the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0], parent: Number(fields[1]), startTicks: fields[19] ?? '' };
}

async function endsWithin(child: ChildProcess, limitMs: number): Promise<boolean> {
  if (hasEnded(child)) return true;
  return await once(child, 'exit', { signal: AbortSignal.timeout(limitMs) }).then(
    () => true,
    () => false,
  );
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
