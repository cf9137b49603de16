// /debug/summary: one process in a few KB, for pages and metrics that gather many. JSON only. It answers at once, also
// while the main thread is blocked.
import type { GcTotals, ThreadHeap, VitalSigns } from '../agent/messages.js';
import type { LeakReport, RecorderSnapshot, SiteSample } from '../model.js';
import { ANSWER_TIMEOUT_MS, formatOf, json, wholeOf } from './debug-request.js';
import type { Endpoint } from './debug-request.js';
import { sitesOf } from './resources.js';

/** For small charts: the last two minutes of readings. */
const TREND_READINGS_MAX = 60;
const SITES_MAX = 200;

export interface TrendPoint {
  /** Epoch ms. */
  readonly at: number;
  /** Share of the time in which the loop was busy. */
  readonly utilization: number;
  readonly delayMaxMs: number;
  /** Bytes. */
  readonly heapUsed: number;
}

export interface Summary {
  readonly process: {
    readonly name: string;
    readonly pid: number;
    readonly nodeVersion: string;
    readonly uptimeMs: number;
  };
  /** 0 when the main thread answers; else how long it has not, in ms: the rest is the last known then. */
  readonly silentMs: number;
  /** Absent until the first reading. */
  readonly vitals?: VitalSigns;
  readonly gc: GcTotals;
  /** Of the worker threads that have a recorder. */
  readonly threads: readonly { readonly thread: number; readonly heap: ThreadHeap }[];
  /** Oldest first. */
  readonly trend: readonly TrendPoint[];
  readonly leaks: LeakReport;
  readonly liveByType: Readonly<Record<string, number>>;
  /** Estimates. */
  readonly promises: { readonly pending: number; readonly abandoned: number };
  /** What the recorder costs; absent until its first snapshot. */
  readonly recorder?: Pick<RecorderSnapshot, 'mode' | 'promiseRate' | 'stacksPerSecond' | 'stacksPerSecondMax' | 'own'>;
  /** The first `?sites=` of all, most live ones first. */
  readonly sites: readonly SiteSample[];
}

export const summary: Endpoint = async (request, agent) => {
  const { data, link, processSnapshots, watch } = agent;
  formatOf(request, ['json']);
  const sitesWanted = wholeOf(request, 'sites', 0, 0, SITES_MAX);
  const [{ value: snapshot, stale }, { value: gc = {} }, threads] = await Promise.all([
    processSnapshots.readOrLast(ANSWER_TIMEOUT_MS),
    link.askOrLast('gc', ANSWER_TIMEOUT_MS),
    agent.threads.reports(),
  ]);
  const { name, pid, nodeVersion, startedAt } = data;
  const readings = watch.vitals();
  const last = readings.at(-1);
  return json({
    process: { name, pid, nodeVersion, uptimeMs: Date.now() - startedAt },
    silentMs: stale?.silentMs ?? 0,
    ...(last === undefined ? {} : { vitals: last }),
    gc,
    threads: threads.map(({ thread, heap }) => ({ thread, heap })),
    trend: readings.slice(-TREND_READINGS_MAX).map(trendPoint),
    leaks: watch.leaks(),
    liveByType: snapshot?.liveByType ?? {},
    promises: { pending: liveOf(snapshot, 'promise'), abandoned: liveOf(snapshot, 'abandoned') },
    ...(snapshot === undefined ? {} : { recorder: costOf(snapshot) }),
    sites: snapshot === undefined ? [] : sitesOf(snapshot, 'async').slice(0, sitesWanted),
  } satisfies Summary);
};

function trendPoint({ at, loop, memory }: VitalSigns): TrendPoint {
  return { at, utilization: loop.utilization, delayMaxMs: loop.delayMs.max, heapUsed: memory.heapUsed };
}

function liveOf(snapshot: RecorderSnapshot | undefined, kind: SiteSample['kind']): number {
  const sites = snapshot?.sites.filter((site) => site.kind === kind) ?? [];
  return sites.reduce((sum, { live }) => sum + live, 0);
}

function costOf({
  mode,
  promiseRate,
  stacksPerSecond,
  stacksPerSecondMax,
  own,
}: RecorderSnapshot): NonNullable<Summary['recorder']> {
  return { mode, promiseRate, stacksPerSecond, stacksPerSecondMax, own };
}
