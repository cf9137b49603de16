// The diagnostics agent's way in for code: `startDiagnostics()`. For a program that is not to be changed there is
// diagnostics/register.ts. Imports nothing of this project outside diagnostics/.
import path from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { Host } from './agent/host.js';
import { liveReport } from './agent/live-report.js';
import type { LiveReport } from './agent/live-report.js';
import { joinThreads } from './agent/other-threads.js';
import { chooseSocketPath, OWNER_VARIABLE, SOCKET_VARIABLE } from './agent/socket-path.js';
import { startRecorder } from './recorder/recorder.js';
import type { CollectionData } from './agent/messages.js';
import { parseRules } from './collection/rules.js';
import type { Recorder, RecorderOptions } from './recorder/recorder.js';

export interface DiagnosticsOptions {
  /** Shown on the pages; by default the file name of the program. */
  readonly name?: string;
  /** Where to listen, also if another process does: it loses the name. By default `$STAMPEDE_DEBUG_SOCKET`, else `.stampede/run/{pid}.sock`. */
  readonly socketPath?: string;
  readonly recorder?: RecorderOptions;
  /** ms over which the detector judges growth; its default without. */
  readonly windowMs?: number;
  /** Told in plain words what could not be started. By default a process warning of type `StampedeDiagnostics`. */
  readonly warn?: (reason: string) => void;
  /**
   * Called before a heap snapshot, which stops the program for seconds, at most for `limitMs`: may let others take over. Resolves
   * with what undoes it. What takes longer than 10 s is not waited for.
   */
  readonly rest?: (limitMs: number) => Promise<(() => Promise<void>) | undefined>;
  /** By what rules evidence is saved while nobody looks. */
  readonly collection?: CollectionOptions;
}

export interface CollectionOptions {
  /** See diagnostics/collection/rules.ts. One that cannot be read is a `RangeError` of `startDiagnostics`. */
  readonly rules: string;
  /** Made with mode 0700 when it is needed. */
  readonly folder: string;
  /** Default 6. */
  readonly actionsPerHourMax?: number;
  /** Told in plain words what was saved, or why not. By default a process warning of type `StampedeDiagnostics`. */
  readonly tell?: (news: string) => void;
}

const ACTIONS_PER_HOUR_MAX = 6;

export interface Diagnostics {
  /** What is live in this thread now, for a log: why does it not end? */
  report(): LiveReport;
  /** The path of the Unix socket once it listens; undefined when there is none (a warning has said why). */
  listening(): Promise<string | undefined>;
  /** Ends the thread, the socket and the recorder, and waits for them. Starting again is possible. */
  stop(): Promise<void>;
}

/** One agent per thread, also when the preload and the program's code both start it, from two copies of this package. */
const RUNNING = Symbol.for('stampede.diagnostics');
type Registry = Record<typeof RUNNING, Diagnostics | undefined>;

/**
 * Starts the agent of this process: recorder, diagnostics thread, `/debug` on a Unix socket. Returns at once; what
 * cannot be started is told by a process warning and never by an exception, because the program matters more (collection
 * rules that cannot be read are the exception: `RangeError`, and nothing is started). Calling it again gives the agent that runs. In a worker thread it records that thread for the pages of its process.
 */
export function startDiagnostics(options: DiagnosticsOptions = {}): Diagnostics {
  const registry = globalThis as unknown as Registry;
  const running = registry[RUNNING];
  if (running !== undefined) return running;
  const host = isMainThread ? startHost(options, () => recorder) : undefined;
  const recorder = startRecorder(options.recorder);
  const leaveThreads = isMainThread ? (): void => undefined : joinThreads(recorder);
  const diagnostics: Diagnostics = {
    report: () => liveReport(recorder),
    listening: async () => host?.listening(),
    stop: async () => {
      registry[RUNNING] = undefined;
      leaveThreads();
      recorder.stop();
      await host?.stop();
    },
  };
  registry[RUNNING] = diagnostics;
  return diagnostics;
}

function startHost(options: DiagnosticsOptions, recorder: () => Recorder): Host {
  const { env, pid } = process;
  const socketPath = chooseSocketPath({ path: options.socketPath, env, pid, cwd: process.cwd() });
  // Children inherit the name of the socket: this tells them that it is taken.
  if (env[SOCKET_VARIABLE] !== undefined) env[OWNER_VARIABLE] ??= String(pid);
  const host = new Host({
    threadFile: new URL('./agent/thread.js', import.meta.url),
    data: {
      socketPath,
      takesOver: options.socketPath !== undefined,
      name: options.name ?? path.basename(process.argv[1] ?? 'node'),
      pid,
      nodeVersion: process.version,
      startedAt: Date.now() - Math.round(process.uptime() * 1000),
      windowMs: options.windowMs,
      collection: collectionOf(options.collection),
    },
    recorder,
    rest: options.rest ?? (() => Promise.resolve(undefined)),
    warn: options.warn ?? warning,
    collected: options.collection?.tell ?? warning,
  });
  host.start();
  return host;
}

function warning(text: string): void {
  process.emitWarning(text, { type: 'StampedeDiagnostics' });
}

function collectionOf(options: CollectionOptions | undefined): CollectionData | undefined {
  if (options === undefined) return undefined;
  const { rules, folder, actionsPerHourMax = ACTIONS_PER_HOUR_MAX } = options;
  return { rules: parseRules(rules), folder: path.resolve(folder), actionsPerHourMax };
}
