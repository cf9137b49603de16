// Brings a server back on the same port with the same data when it dies, until it is stopped:
//   running --dies--> backing off --delay--> starting --answers--> running
//   backing off --too many quick deaths--> given up (onFailure, once)     any state --stop()--> stopped
// A death is quick when the server served for less than QUICK_DEATH_MS; a start that failed is one, too.
import { setTimeout as delay } from 'node:timers/promises';
import type { ServerProcess, ServerProgram, StartContext } from './server-process.js';
import { startServerProcess } from './server-process.js';

export interface WatchLimits {
  /** The delay before a restart doubles with every quick death in a row, between these two. */
  readonly backoffMsMin: number;
  readonly backoffMsMax: number;
  readonly quickDeathMs: number;
  /** One more, and the server is given up. */
  readonly quickDeathsMax: number;
}

// Gives up after about 20 seconds: longer than it takes to free a port or some memory.
const WATCH_LIMITS: WatchLimits = { backoffMsMin: 200, backoffMsMax: 5_000, quickDeathMs: 30_000, quickDeathsMax: 8 };

export interface WatchContext extends StartContext {
  /** Called once, when the server keeps dying and is not started again. */
  readonly onFailure: (reason: string) => void;
  /** For tests. */
  readonly limits?: WatchLimits;
}

export interface WatchedServer {
  /** Includes the password; stays the same over restarts. */
  readonly url: string;
  /** Ends the watch and the server; resolves when both have ended. Calling it again waits for the same end. */
  stop(): Promise<void>;
}

/** Watches `first`, a running process of `program`. */
export function watchServer(program: ServerProgram, first: ServerProcess, context: WatchContext): WatchedServer {
  const stopping = new AbortController();
  const ended = watch(program, first, context, stopping.signal);
  return {
    url: first.url,
    stop: async () => {
      stopping.abort();
      await ended;
    },
  };
}

async function watch(
  program: ServerProgram,
  first: ServerProcess,
  context: WatchContext,
  stopping: AbortSignal,
): Promise<void> {
  const { title } = program;
  const limits = context.limits ?? WATCH_LIMITS;
  let server: ServerProcess | undefined = first;
  let readyAt = Date.now();
  let quickDeaths = 0;
  while (!stopping.aborted) {
    if (server !== undefined) {
      const end = await exitOrAbort(server, stopping);
      if (end === 'aborted') break;
      const servedMs = Date.now() - readyAt;
      if (servedMs >= limits.quickDeathMs) quickDeaths = 0;
      context.log.error({ server: title, end, servedMs }, 'server died');
    }
    quickDeaths++;
    if (quickDeaths > limits.quickDeathsMax) {
      context.onFailure(`${title} died ${quickDeaths} times in a row. Its log: ${program.logFile}`);
      return;
    }
    server = await startAgain(program, first.port, backoffMs(quickDeaths, limits), { ...context, signal: stopping });
    readyAt = Date.now();
  }
  await server?.stop();
}

/** Undefined when the server did not start, or the signal ended the attempt. */
async function startAgain(
  program: ServerProgram,
  port: number,
  delayMs: number,
  context: StartContext & { readonly signal: AbortSignal },
): Promise<ServerProcess | undefined> {
  try {
    context.log.info({ server: program.title, delayMs: Math.round(delayMs) }, 'server is started again');
    await delay(delayMs, undefined, { signal: context.signal });
    return await startServerProcess(program, port, context);
  } catch (error) {
    if (!context.signal.aborted) {
      context.log.error({ server: program.title, err: error }, 'server could not be started again');
    }
    return undefined;
  }
}

async function exitOrAbort(server: ServerProcess, signal: AbortSignal): Promise<string> {
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<string>((resolve) => {
    onAbort = () => {
      resolve('aborted');
    };
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([server.exited, aborted]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
  }
}

function backoffMs(quickDeaths: number, limits: WatchLimits): number {
  // Half of it at random, so that two servers that died together do not start together.
  return Math.min(limits.backoffMsMin * 2 ** (quickDeaths - 1), limits.backoffMsMax) * (0.5 + Math.random() / 2);
}
