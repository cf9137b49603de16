// POST /debug/trace: a window of full traces (async_hooks over everything), which makes the program many times slower
// while it lasts. Nothing of it remains afterwards.
import path from 'node:path';
import type { TraceEntry, TraceMode, TraceResult } from '../model.js';
import { elapse } from '../agent/inspector-session.js';
import type { MainLink } from '../agent/main-link.js';
import type { TraceRequest } from '../agent/messages.js';
import { takeTurn } from '../agent/turn.js';
import { ANSWER_TIMEOUT_MS, DebugError, formatOf, json, secondsOf, text, wholeOf } from './debug-request.js';
import type { DebugRequest, Endpoint } from './debug-request.js';
import { frameLines, frameText } from './text.js';

const SECONDS_DEFAULT = 5;
const SECONDS_MAX = 60;
const ENTRIES_DEFAULT = 10_000;
const ENTRIES_MAX = 50_000;
/** The main thread reads the stacks at the end: some 50 µs each. */
const STOP_TIMEOUT_MS = 30_000;
const MODES: readonly TraceMode[] = ['all', 'promises', 'without-promises'];
/** Groups shown to people, and links of a chain. */
const GROUPS_SHOWN = 30;
const CHAIN_MAX = 6;

export const trace: Endpoint = async (request, { data, gate, link, maps }) => {
  const format = formatOf(request, ['json', 'text']);
  const seconds = secondsOf(request, SECONDS_DEFAULT, SECONDS_MAX);
  const window = { mode: modeOf(request), maxEntries: wholeOf(request, 'max', ENTRIES_DEFAULT, 1, ENTRIES_MAX) };
  const expectedMs = seconds * 1000 + ANSWER_TIMEOUT_MS;
  const recorded = await gate.run('a trace', expectedMs, async () => {
    const endTurn = await takeTurn(path.dirname(data.socketPath), expectedMs);
    try {
      return await record(link, window, seconds * 1000, request.gone);
    } finally {
      endTurn();
    }
  });
  const result = { ...recorded, entries: maps.withSources(recorded.entries) };
  return format === 'json' ? json(result) : text(traceText(result));
};

async function record(link: MainLink, window: TraceRequest, ms: number, gone: AbortSignal): Promise<TraceResult> {
  try {
    await link.ask('traceStart', ANSWER_TIMEOUT_MS, window);
  } catch (error) {
    // A blocked main thread may begin it later: the end is in its mailbox right behind.
    link.ask('traceStop', STOP_TIMEOUT_MS).catch(() => undefined);
    throw error;
  }
  await elapse(ms, gone);
  return link.ask('traceStop', STOP_TIMEOUT_MS);
}

function modeOf({ query }: DebugRequest): TraceMode {
  const asked = query.get('mode') ?? 'all';
  const mode = MODES.find((known) => known === asked);
  if (mode === undefined) throw new DebugError(400, 'invalid_query', `mode is one of ${MODES.join(', ')}`);
  return mode;
}

interface Group {
  readonly example: TraceEntry;
  created: number;
  live: number;
  readonly requests: Set<string>;
}

/** By creating stack, those with most live ones first, each with the requests it was made for and the chain of triggers of its first one. */
export function traceText({ mode, from, to, entries, dropped }: TraceResult): string {
  const byId = new Map(entries.map((entry) => [entry.asyncId, entry]));
  const groups = new Map<string, Group>();
  for (const entry of entries) {
    const key = [entry.type, ...entry.stack.map(frameText)].join('\n');
    const group = groups.get(key) ?? { example: entry, created: 0, live: 0, requests: new Set() };
    groups.set(key, group);
    group.created += 1;
    if (entry.endedAt === undefined) group.live += 1;
    if (entry.request !== undefined) group.requests.add(entry.request);
  }
  const shown = [...groups.values()]
    .toSorted((a, b) => b.live - a.live || b.created - a.created)
    .slice(0, GROUPS_SHOWN);
  const blocks = shown.map(({ example, created, live, requests }) =>
    [
      `${live} live of ${created} ${example.type}`,
      ...frameLines(example.stack),
      ...requestLine(requests),
      ...chainOf(example, byId).map(({ type, stack: [place] }) => {
        const where = place === undefined ? '' : ` at ${frameText(place)}`;
        return `    ← ${type}${where}`;
      }),
    ].join('\n'),
  );
  const head =
    `trace (${mode}) of ${to - from} ms: ${entries.length} resources at ${groups.size} places` +
    (dropped > 0 ? `; ${dropped} more were not recorded because the window was full (?max=)` : '');
  return [head, ...blocks].join('\n\n');
}

/** `for GET /cart and 3 others`. */
function requestLine(requests: ReadonlySet<string>): string[] {
  const [first] = requests;
  if (first === undefined) return [];
  return [`    for ${first}${requests.size > 1 ? ` and ${requests.size - 1} others` : ''}`];
}

/** Who caused it, who caused that, … as far as the window saw it. */
function chainOf(entry: TraceEntry, byId: ReadonlyMap<number, TraceEntry>): TraceEntry[] {
  const chain: TraceEntry[] = [];
  for (let next = byId.get(entry.triggerAsyncId); next !== undefined; next = byId.get(next.triggerAsyncId)) {
    if (chain.length === CHAIN_MAX || chain.includes(next)) break;
    chain.push(next);
  }
  return chain;
}
