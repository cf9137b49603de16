// Saves evidence by rules while nobody looks: watches what the agent reads anyway, and when a rule's condition has held for
// long enough does its actions once. A rule is armed again when its condition has ended. Bounded: so many actions an hour,
// so many bytes of files (the oldest go). Runs in the diagnostics thread; touches its folder only.
import { createWriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Busy } from '../agent/heavy-gate.js';
import type { Action, Rule } from './rules.js';

const HOUR_MS = 3_600_000;
/** Of all files together; one heap snapshot of a large process is the largest there is. */
const FOLDER_BYTES_MAX = 1024 ** 3;
const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
/** Another heavy operation runs, here or in a process beside this one: an action waits for its end so often. */
const BUSY_WAITS_MAX = 10;
const MS_PER_SECOND = 1_000;
/** Of a file that is being written, or was when its process ended. */
const DRAFT = '.part';
const SUFFIXES: Readonly<Record<Action, string>> = {
  leaks: '.leaks.txt',
  async: '.async.pb.gz',
  stack: '.stack.txt',
  profile: '.cpu.pb.gz',
  heap: '.heap.pb.gz',
  trace: '.trace.json',
  snapshot: '.heapsnapshot',
};

export interface Observation {
  /** Epoch ms. */
  readonly at: number;
  readonly isLeaking: boolean;
  /** Bytes. */
  readonly heapUsed: number;
  readonly delayMs: number;
}

export interface CollectorOptions {
  readonly rules: readonly Rule[];
  /** Made when it is needed. */
  readonly folder: string;
  /** Begins the name of each file. */
  readonly name: string;
  readonly actionsPerHourMax: number;
  readonly take: (action: Action) => Promise<string | Buffer | Readable>;
  /** Told of each file, and of each action that failed or was over the budget. */
  readonly tell: (news: string) => void;
  readonly folderBytesMax?: number;
}

interface Armed {
  readonly rule: Rule;
  /** Since when the condition holds. */
  since: number | undefined;
  isDone: boolean;
}

export class Collector {
  readonly #options: CollectorOptions;
  readonly #armed: readonly Armed[];
  /** When actions were done, within the last hour. */
  #spent: number[] = [];
  #files = 0;
  /** Actions go one after the other. */
  #work: Promise<void> = Promise.resolve();

  constructor(options: CollectorOptions) {
    this.#options = options;
    this.#armed = options.rules.map((rule) => ({ rule, since: undefined, isDone: false }));
  }

  /** Call it at a steady pace. Resolves when what it set off is done; never rejects. */
  observe(observation: Observation): Promise<void> {
    for (const armed of this.#armed) {
      if (!holds(armed.rule, observation)) {
        armed.since = undefined;
        armed.isDone = false;
        continue;
      }
      armed.since ??= observation.at;
      if (armed.isDone || observation.at - armed.since < armed.rule.forMs) continue;
      armed.isDone = true;
      for (const action of armed.rule.actions) this.#plan(action, armed.rule, observation.at);
    }
    return this.#work;
  }

  #plan(action: Action, rule: Rule, at: number): void {
    this.#spent = this.#spent.filter((spentAt) => spentAt > at - HOUR_MS);
    if (this.#spent.length >= this.#options.actionsPerHourMax) {
      this.#options.tell(
        `"${rule.text}" holds; ${action} is left out: ${this.#spent.length} actions within the last hour`,
      );
      return;
    }
    this.#spent.push(at);
    this.#work = this.#work.then(async () => this.#do(action, rule));
  }

  async #do(action: Action, rule: Rule): Promise<void> {
    const { folder, name, tell } = this.#options;
    // The number tells files of the same millisecond apart.
    const moment = `${new Date().toISOString().replace(/[:.]/g, '-')}-${++this.#files}`;
    const file = path.join(folder, `${name}-${moment}${SUFFIXES[action]}`);
    try {
      await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
      const body = await this.#take(action);
      if (body instanceof Readable) await pipeline(body, createWriteStream(file + DRAFT, { mode: FILE_MODE }));
      else await writeFile(file + DRAFT, body, { mode: FILE_MODE });
      await rename(file + DRAFT, file);
      tell(`"${rule.text}" holds; saved ${file}`);
      await this.#keepQuota();
    } catch (error) {
      await rm(file + DRAFT, { force: true });
      tell(`"${rule.text}" holds; ${action} failed: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  async #take(action: Action): ReturnType<CollectorOptions['take']> {
    for (let waits = 0; ; waits++) {
      try {
        return await this.#options.take(action);
      } catch (error) {
        if (!(error instanceof Busy) || waits === BUSY_WAITS_MAX) throw error;
        // No reason for the thread to go on.
        await new Promise((resolve) => setTimeout(resolve, error.retryAfterSeconds * MS_PER_SECOND).unref());
      }
    }
  }

  /** Deletes the oldest of the files that collectors have saved here, this one's and others'. */
  async #keepQuota(): Promise<void> {
    const { folder, folderBytesMax = FOLDER_BYTES_MAX } = this.#options;
    const names = (await readdir(folder)).filter((name) =>
      Object.values(SUFFIXES).some((suffix) => name.endsWith(suffix) || name.endsWith(suffix + DRAFT)),
    );
    const files = await Promise.all(
      names.map(async (name) => {
        const { size, mtimeMs } = await stat(path.join(folder, name));
        return { name, size, mtimeMs };
      }),
    );
    let bytes = files.reduce((sum, { size }) => sum + size, 0);
    for (const { name, size } of files.toSorted((a, b) => a.mtimeMs - b.mtimeMs)) {
      if (bytes <= folderBytesMax) return;
      await rm(path.join(folder, name), { force: true });
      bytes -= size;
    }
  }
}

function holds({ when, above }: Rule, { isLeaking, heapUsed, delayMs }: Observation): boolean {
  switch (when) {
    case 'leaking':
      return isLeaking;
    case 'heap':
      return heapUsed > above;
    case 'delay':
      return delayMs > above;
  }
}
