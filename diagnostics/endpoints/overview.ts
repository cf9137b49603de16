// /debug: the index. Text for curl, HTML for browsers, JSON for programs: who this is, how it does, what is suspect, what
// there is to ask. It answers at once, also while the main thread is blocked.
import type { VitalSigns } from '../agent/messages.js';
import type { LeakReport, SiteSample } from '../model.js';
import { ANSWER_TIMEOUT_MS, formatOf, json, text } from './debug-request.js';
import type { AgentParts, Endpoint } from './debug-request.js';
import { htmlReply } from './html/document.js';
import { indexPage } from './html/page.js';
import { leakText } from './leaks.js';
import { sitesOf } from './resources.js';
import { duration, mebibytes, table } from './text.js';

export interface EndpointEntry {
  readonly method: string;
  /** Below `/debug`. */
  readonly path: string;
  readonly gives: string;
}

export interface Overview {
  readonly process: {
    readonly name: string;
    readonly pid: number;
    readonly nodeVersion: string;
    readonly uptimeMs: number;
  };
  /** 0 when the main thread answers; else how long it has not, in ms: the rest is the last known then. */
  readonly silentMs: number;
  /** Oldest first. */
  readonly vitals: readonly VitalSigns[];
  readonly leaks: LeakReport;
  readonly liveByType: Readonly<Record<string, number>>;
  /** Most live ones first. */
  readonly sites: readonly SiteSample[];
  readonly endpoints: readonly EndpointEntry[];
}

/** `endpoints` is the table of routes, passed in because this page is one of them. */
export function overviewOf(endpoints: () => readonly EndpointEntry[]): Endpoint {
  return async (request, agent) => {
    const format = formatOf(request, ['text', 'html', 'json']);
    const overview = await gather(agent, endpoints());
    if (format === 'json') return json(overview);
    return format === 'html' ? htmlReply(indexPage(overview, request.prefix)) : text(overviewText(overview));
  };
}

async function gather(
  { data, processSnapshots, watch }: AgentParts,
  endpoints: readonly EndpointEntry[],
): Promise<Overview> {
  const { value: snapshot, stale } = await processSnapshots.readOrLast(ANSWER_TIMEOUT_MS);
  const { name, pid, nodeVersion, startedAt } = data;
  return {
    process: { name, pid, nodeVersion, uptimeMs: Date.now() - startedAt },
    silentMs: stale?.silentMs ?? 0,
    vitals: watch.vitals(),
    leaks: watch.leaks(),
    liveByType: snapshot?.liveByType ?? {},
    sites: snapshot === undefined ? [] : sitesOf(snapshot, 'async'),
    endpoints,
  };
}

function overviewText({ process: watched, silentMs, vitals, leaks, liveByType, endpoints }: Overview): string {
  const last = vitals.at(-1);
  const live = Object.entries(liveByType).map(([type, count]) => `${type} ${Math.round(count)}`);
  return [
    `${watched.name}, pid ${watched.pid}, Node ${watched.nodeVersion}, up ${duration(watched.uptimeMs)}`,
    ...(silentMs > 0 ? [`! The main thread is blocked, silent for ${silentMs} ms: see /debug/stack`] : []),
    ...(last === undefined ? [] : [vitalText(last)]),
    `live: ${live.join(', ') || 'nothing'}`,
    '',
    leakText(leaks),
    '',
    table(endpoints.map(({ method, path, gives }) => [`${method.padEnd(4)} /debug${path}  ${gives}`])),
  ].join('\n');
}

function vitalText({ loop: { utilization, delayMs }, memory, gc }: VitalSigns): string {
  return (
    `loop ${(utilization * 100).toFixed(1)} % busy, delay p99 ${delayMs.p99} ms, max ${delayMs.max} ms; ` +
    `heap ${mebibytes(memory.heapUsed)}, rss ${mebibytes(memory.rss)}; GC ${gc.pauseMs.toFixed(1)} ms in ${gc.count} pauses`
  );
}
