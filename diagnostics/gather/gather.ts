// Asks the agents of many processes at once what there is to say of each. A process that hangs, is gone or runs without
// an agent costs its time limit and shows as what it is. Knows sockets and agents; what a cluster is, its caller knows.
import { askDebug } from '../endpoints/proxy.js';
import type { Summary } from '../endpoints/summary.js';
import type { LeakReport } from '../model.js';

/** Longer than an agent whose main thread is blocked takes (1 s), short enough for a page that somebody waits for. */
const SUMMARY_TIMEOUT_MS = 2_500;

/** A process as its supervisor knows it. */
export interface WatchedProcess {
  readonly name: string;
  readonly role: string;
  /** 0 where there is no process just now. */
  readonly pid: number;
  readonly state: string;
  /** Undefined where no agent has one. */
  readonly socketPath: string | undefined;
}

export interface Gathered extends Omit<WatchedProcess, 'socketPath'> {
  /** What its agent says; absent when it does not. */
  readonly summary?: Summary;
  /** Why there is no summary, for people. */
  readonly problem?: string;
}

/** `sites`: of each process so many sites, the most live ones first. Never rejects. */
export async function gather(processes: readonly WatchedProcess[], sites = 0): Promise<Gathered[]> {
  return Promise.all(processes.map(async (watched) => ask(watched, sites)));
}

async function ask({ socketPath, ...watched }: WatchedProcess, sites: number): Promise<Gathered> {
  if (socketPath === undefined)
    return { ...watched, problem: 'no agent: it is starting, has ended or runs without one' };
  try {
    const answer = await askDebug(socketPath, `/debug/summary?sites=${sites}`, SUMMARY_TIMEOUT_MS);
    return { ...watched, summary: answer as Summary };
  } catch (error) {
    return { ...watched, problem: error instanceof Error ? error.message : String(error) };
  }
}

const RANK = { clean: 0, suspect: 1, leaking: 2 } as const;

/** The worst of all that answered. */
export function worstVerdict(gathered: readonly Gathered[]): LeakReport['verdict'] {
  const verdicts = gathered.flatMap(({ summary }) => summary?.leaks.verdict ?? []);
  return verdicts.reduce((worst, next) => (RANK[next] > RANK[worst] ? next : worst), 'clean');
}

/** One process of `/debug/workers`. Sizes are bytes, times ms, shares 0 to 1. */
export interface WorkerEntry {
  readonly name: string;
  readonly role: string;
  readonly pid: number;
  readonly state: string;
  /** Absent where `problem` says why. */
  readonly uptimeSeconds?: number;
  /** 0 while the main thread answers; else for how long its loop has been blocked. */
  readonly blockedMs?: number;
  readonly eventLoop?: { readonly utilization: number; readonly delayMs: Readonly<Record<string, number>> };
  readonly heap?: { readonly used: number; readonly total: number; readonly limit: number; readonly rss: number };
  /** Heaps of the worker threads that have a recorder, bytes. */
  readonly threads?: Summary['threads'];
  readonly liveByType?: Readonly<Record<string, number>>;
  readonly verdict?: LeakReport['verdict'];
  readonly suspects?: number;
  readonly problem?: string;
}

export function workerEntry({ summary, problem, ...watched }: Gathered): WorkerEntry {
  if (summary === undefined) return { ...watched, ...(problem === undefined ? {} : { problem }) };
  const { vitals, leaks } = summary;
  return {
    ...watched,
    pid: summary.process.pid,
    uptimeSeconds: Math.round(summary.process.uptimeMs / 1_000),
    blockedMs: summary.silentMs,
    ...(vitals === undefined
      ? {}
      : {
          eventLoop: { utilization: vitals.loop.utilization, delayMs: vitals.loop.delayMs },
          heap: {
            used: vitals.memory.heapUsed,
            total: vitals.memory.heapTotal,
            limit: vitals.memory.heapLimit,
            rss: vitals.memory.rss,
          },
        }),
    threads: summary.threads,
    liveByType: summary.liveByType,
    verdict: leaks.verdict,
    suspects: leaks.sites.length,
  };
}
