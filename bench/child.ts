// A process of the benchmark's own that it talks with: forked with a channel, asked and answered by messages, stopped in
// the end. Such a process ends by itself when the channel breaks, so none outlives the benchmark.
import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { packagePath } from '../platform/package-root.js';

const STOP_TIMEOUT_MS = 5_000;

export interface ChildOptions {
  /** Name of the script in this folder, without its extension. */
  readonly script: string;
  readonly args?: readonly string[];
  readonly execArgv?: readonly string[];
  /** The Node that runs it; default: this one. */
  readonly node?: string | undefined;
  /** Default: that of this process. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Gives up whatever is waited for. */
  readonly signal: AbortSignal;
}

export class Child {
  readonly #process: ChildProcess;
  readonly #signal: AbortSignal;

  constructor(options: ChildOptions) {
    const { script, args = [], execArgv = [], node = process.execPath, environment = process.env, signal } = options;
    this.#signal = signal;
    // A group of its own: a Ctrl-C in the terminal reaches the benchmark alone, which decides what ends when.
    const forked = { execPath: node, execArgv: [...execArgv], env: { ...environment }, detached: true };
    this.#process = fork(packagePath('dist', 'bench', `${script}.js`), [...args], forked);
  }

  get pid(): number {
    if (this.#process.pid === undefined) throw new Error('the process could not be started');
    return this.#process.pid;
  }

  /** The next message, as an answer to `message` if one is given. Rejects when the process ends, or after `limitMs`. */
  async answer(limitMs: number, message?: object): Promise<unknown> {
    const settled = new AbortController();
    // A timer of our own: on Node 20 a signal of AbortSignal.timeout that only AbortSignal.any holds may never fire.
    const limit = setTimeout(() => settled.abort(), limitMs);
    const signal = AbortSignal.any([this.#signal, settled.signal]);
    const ended = (): never => {
      throw new Error(`a process of the benchmark ended: ${this.#process.spawnargs.join(' ')}`);
    };
    if (this.#hasEnded()) ended();
    try {
      const answered = once(this.#process, 'message', { signal });
      const exited = once(this.#process, 'exit', { signal });
      if (message !== undefined) this.#process.send(message);
      return await Promise.race([answered.then(([first]) => first as unknown), exited.then(ended)]);
    } finally {
      clearTimeout(limit);
      settled.abort();
    }
  }

  /** Breaks the channel, after which the process ends by itself; if it does not in time it is killed. */
  async stop(): Promise<void> {
    if (this.#hasEnded()) return;
    const exited = once(this.#process, 'exit');
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_TIMEOUT_MS);
    if (this.#process.connected) this.#process.disconnect();
    await exited;
    clearTimeout(timer);
  }

  #hasEnded(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }
}
