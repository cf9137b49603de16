// The main thread's half of the agent: starts the diagnostics thread and answers its questions. It never keeps the
// process alive, never changes its exit code, installs no signal handler, and survives the death of the thread.
import { Worker } from 'node:worker_threads';
import type { Recorder } from '../recorder/recorder.js';
import { readHandles } from './handles.js';
import { CLOSE, STANDSTILL_MS_MAX } from './messages.js';
import type { Answer, Answers, Notice, Question, ThreadData, Topic } from './messages.js';
import { removeSocket } from './socket-path.js';
import { VitalSignsReader } from './vital-signs.js';

/** Old space of the thread: room for a CPU profile of minutes; a snapshot goes to disk in pieces. */
const THREAD_HEAP_MB_MAX = 256;
/** A thread that dies is started again, but not for ever. */
const RESTARTS_MAX = 3;
const RESTART_DELAY_MS = 1_000;
const CLOSE_TIMEOUT_MS = 2_000;

export interface HostOptions {
  readonly threadFile: URL;
  readonly data: ThreadData;
  /** Started after the thread is, so that it does not record the agent's own beginnings. */
  readonly recorder: () => Recorder;
  /** See `DiagnosticsOptions.rest`. */
  readonly rest: (limitMs: number) => Promise<(() => Promise<void>) | undefined>;
  /** Told in plain words whenever there is no agent: the program goes on without it. */
  readonly warn: (reason: string) => void;
  /** Told in plain words what the collection rules did. */
  readonly collected: (news: string) => void;
}

export class Host {
  readonly #options: HostOptions;
  readonly #vitals = new VitalSignsReader();
  readonly #answers: { readonly [T in Topic]: (question: Question) => Answers[T] | Promise<Answers[T]> };
  readonly #onExit = (): void => this.#removeSocket();
  #worker: Worker | undefined;
  #socket: { readonly socketPath: string; readonly inode: number } | undefined;
  #waiting: ((socketPath: string | undefined) => void)[] = [];
  #resting: Promise<(() => Promise<void>) | undefined> | undefined;
  #restarts = 0;
  #restartTimer: NodeJS.Timeout | undefined;
  #ended = false;

  constructor(options: HostOptions) {
    this.#options = options;
    this.#answers = {
      vitals: () => this.#vitals.read(),
      gc: () => this.#vitals.gcTotals(),
      delays: () => this.#vitals.delays(),
      handles: readHandles,
      snapshot: () => options.recorder().snapshot(),
      everyOne: () => options.recorder().snapshot({ each: true }),
      traceStart: ({ trace }) => {
        if (trace !== undefined) options.recorder().startTrace(trace);
      },
      traceStop: () => options.recorder().stopTrace(),
      rest: async () => {
        this.#resting ??= options.rest(STANDSTILL_MS_MAX);
        await this.#resting;
        return undefined;
      },
      resume: async () => {
        const resting = this.#resting;
        this.#resting = undefined;
        // One that is late is undone when it comes.
        await (
          await resting
        )?.();
        return undefined;
      },
    };
  }

  start(): void {
    this.#vitals.start();
    process.on('exit', this.#onExit);
    this.#spawn();
  }

  /** The socket's path once it is there; undefined when there will be none. Waiting for it keeps the process alive. */
  async listening(): Promise<string | undefined> {
    if (this.#socket !== undefined || this.#ended) return this.#socket?.socketPath;
    this.#worker?.ref();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Closes the socket and ends the thread; waits for both, at most `CLOSE_TIMEOUT_MS`. */
  async stop(): Promise<void> {
    this.#end();
    const worker = this.#worker;
    this.#worker = undefined;
    if (worker !== undefined) {
      worker.postMessage(CLOSE);
      await this.#exitOf(worker);
    }
  }

  /** A thread that does not end by itself is ended. */
  async #exitOf(worker: Worker): Promise<void> {
    const timer = setTimeout(() => {
      worker.terminate().catch(() => undefined);
    }, CLOSE_TIMEOUT_MS);
    worker.ref();
    await new Promise((resolve) => worker.once('exit', resolve));
    clearTimeout(timer);
  }

  #spawn(): void {
    try {
      const worker = new Worker(this.#options.threadFile, {
        name: 'stampede-diagnostics',
        workerData: this.#options.data,
        // No preload of the program's (it would start an agent for the agent) and no environment: what the thread does
        // not have, its pages cannot show.
        execArgv: [],
        env: {},
        resourceLimits: { maxOldGenerationSizeMb: THREAD_HEAP_MB_MAX },
      });
      worker.on('message', (message: Question | Notice) => this.#hear(worker, message));
      worker.on('error', (error: unknown) => this.#options.warn(`the diagnostics thread failed: ${String(error)}`));
      worker.on('exit', () => this.#respawn());
      worker.unref();
      this.#worker = worker;
    } catch (error) {
      // E.g. the permission model forbids threads.
      this.#options.warn(`no diagnostics thread: ${String(error)}`);
      this.#end();
    }
  }

  #respawn(): void {
    this.#worker = undefined;
    if (this.#ended) return;
    if (this.#restarts >= RESTARTS_MAX) {
      this.#end();
      return;
    }
    this.#restarts += 1;
    this.#restartTimer = setTimeout(() => this.#spawn(), RESTART_DELAY_MS).unref();
  }

  #hear(worker: Worker, message: Question | Notice): void {
    if ('topic' in message) {
      this.#answer(message).then(
        (answer) => worker.postMessage(answer),
        () => undefined,
      );
    } else if (message.notice === 'listening') {
      this.#socket = message;
      this.#settle();
    } else if (message.notice === 'collected') {
      this.#options.collected(message.news);
    } else {
      this.#options.warn(message.reason);
      this.#end();
    }
  }

  /** Never rejects. */
  async #answer(question: Question): Promise<Answer> {
    const { topic } = question;
    try {
      return { topic, value: await this.#answers[topic](question) };
    } catch (error) {
      return { topic, error: String(error) };
    }
  }

  #end(): void {
    this.#ended = true;
    clearTimeout(this.#restartTimer);
    this.#vitals.stop();
    process.off('exit', this.#onExit);
    this.#removeSocket();
    this.#settle();
  }

  #settle(): void {
    this.#worker?.unref();
    for (const resolve of this.#waiting.splice(0)) resolve(this.#socket?.socketPath);
  }

  #removeSocket(): void {
    if (this.#socket !== undefined) removeSocket(this.#socket.socketPath, this.#socket.inode);
    this.#socket = undefined;
  }
}
