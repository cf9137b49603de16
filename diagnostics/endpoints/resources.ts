// /debug/async, /debug/promises, /debug/timers and /debug/handles: what is live, by the line that made it.
import type { Known } from '../agent/main-link.js';
import type { HandleReport } from '../agent/messages.js';
import type { RecorderSnapshot, ResourceKind, SiteSample } from '../model.js';
import { sitesToPprof } from '../pprof/site-profile.js';
import { ANSWER_TIMEOUT_MS, DebugError, formatOf, json, pprof, staleLine, text } from './debug-request.js';
import type { AgentParts, Endpoint } from './debug-request.js';
import { estimateText, duration, frameLines, mebibytes, table } from './text.js';

/** Sites shown to people by default; `?debug=2` shows all, with every recorded one. */
const SITES_SHOWN = 30;

type View = 'async' | 'promises' | 'timers' | 'handles';
/** Abandoned promises are not live any more: they have their place with the promises. */
const KINDS: Readonly<Record<View, readonly ResourceKind[]>> = {
  async: ['promise', 'timer', 'immediate', 'handle', 'request', 'listener'],
  promises: ['promise', 'abandoned'],
  timers: ['timer', 'immediate'],
  handles: ['handle', 'request'],
};

/** @throws DebugError 503 when the main thread is blocked and nothing is known yet. */
export async function latestSnapshot(
  { processSnapshots }: AgentParts,
  each = false,
): Promise<Known<RecorderSnapshot> & { value: RecorderSnapshot }> {
  const { value, stale } = await processSnapshots.readOrLast(ANSWER_TIMEOUT_MS, each);
  if (value === undefined) {
    throw new DebugError(
      503,
      'main_thread_blocked',
      'the main thread is blocked and was never sampled: see /debug/stack',
    );
  }
  return { value, stale };
}

/** The sites of a view, most live ones first. */
export function sitesOf(snapshot: RecorderSnapshot, view: View): SiteSample[] {
  return snapshot.sites.filter(({ kind }) => KINDS[view].includes(kind)).toSorted((a, b) => b.live - a.live);
}

/** `defaultFormat`: under the names of Go the tools expect pprof unless `?debug=` asks for text, as in Go. */
export function resourcesOf(view: Exclude<View, 'handles'>, defaultFormat: 'text' | 'pprof' = 'text'): Endpoint {
  return async (request, agent) => {
    const first = request.query.has('debug') ? 'text' : defaultFormat;
    const format = formatOf(request, [first, 'text', 'json', 'pprof']);
    const everyOne = request.query.get('debug') === '2';
    const { value: snapshot, stale } = await latestSnapshot(agent, everyOne);
    const sites = sitesOf(snapshot, view);
    if (format === 'pprof') return pprof(view, await sitesToPprof(sites, snapshot.at));
    if (format === 'json')
      return json({ stale: stale !== undefined, silentMs: stale?.silentMs ?? 0, ...snapshot, sites });
    const shown = everyOne ? sites : sites.slice(0, SITES_SHOWN);
    return text(`${staleLine(stale)}${heading(snapshot)}\n\n${siteText(shown, sites.length)}`);
  };
}

function heading({
  at,
  mode,
  promiseRate,
  stacksPerSecond,
  stacksPerSecondMax,
  liveByType,
  own,
}: RecorderSnapshot): string {
  const counts = Object.entries(liveByType).toSorted((a, b) => b[1] - a[1]);
  return [
    `recorder ${mode} at ${new Date(at).toISOString()}; 1 in ${promiseRate} promises is recorded; counts are of all, estimated where they say so`,
    `stacks ${Math.round(stacksPerSecond)}/s of ${stacksPerSecondMax}; holds ${own.entries} of ${own.entriesMax} entries, ` +
      `${own.sites} of ${own.sitesMax} sites, ${mebibytes(own.bytes)}`,
    `live: ${counts.map(([type, count]) => `${type} ${Math.round(count)}`).join(', ') || 'nothing'}`,
  ].join('\n');
}

function siteText(sites: readonly SiteSample[], all: number): string {
  const blocks = sites.map((site) => {
    const ages = [site.ageMinMs, site.ageP50Ms, site.ageMaxMs].map(duration).join(' / ');
    const details = Object.entries(site.details).map(([key, value]) => `${key} ${value}`);
    return [
      `${Math.round(site.live)} ${site.type} (${site.kind})${estimateText(site)}, age min/p50/max ${ages}${details.length > 0 ? `; ${details.join(', ')}` : ''}`,
      ...(site.stack.length > 0 ? frameLines(site.stack) : ['    (no stack recorded)']),
      ...eachLine(site),
    ].join('\n');
  });
  const omitted = all - sites.length;
  if (omitted > 0) blocks.push(`… and ${omitted} more places: ?debug=2 shows them all`);
  return blocks.length > 0 ? blocks.join('\n\n') : 'nothing is live';
}

/** `    each: 3 min, 12.0 s, 340 ms (for 8)`, the oldest first. */
function eachLine({ each }: SiteSample): string[] {
  if (each === undefined) return [];
  const ages = each.map(({ ageMs, weight }) => duration(ageMs) + (weight > 1 ? ` (for ${weight})` : ''));
  return [`    each: ${ages.join(', ')}`];
}

export const handles: Endpoint = async (request, agent) => {
  const format = formatOf(request, ['text', 'json']);
  const { value: open, stale } = await agent.link.askOrLast('handles', ANSWER_TIMEOUT_MS);
  const [{ value: snapshot }, threads] = await Promise.all([latestSnapshot(agent), agent.threads.reports()]);
  const sites = sitesOf(snapshot, 'handles');
  if (format === 'json') {
    return json({ stale: stale !== undefined, silentMs: stale?.silentMs ?? 0, ...open, threads, sites });
  }
  const ofThreads = threads.map(
    (report) => `thread ${report.thread}, heap ${mebibytes(report.heap.used)}, ${openText(report)}`,
  );
  return text([staleLine(stale) + openText(open), ...ofThreads, siteText(sites, sites.length)].join('\n\n'));
};

function openText(open: HandleReport | undefined): string {
  if (open === undefined) return 'what is open is not known yet';
  const counts = Object.entries(open.active).toSorted((a, b) => b[1] - a[1]);
  const list = open.handles.map(({ type, details }) =>
    [type, ...Object.entries(details).map(([key, value]) => `${key} ${value}`)].join(' '),
  );
  if (open.omitted > 0) list.push(`… and ${open.omitted} more`);
  return `keeps the process alive:\n${table(counts)}\n\nopen:\n${list.join('\n')}`;
}
