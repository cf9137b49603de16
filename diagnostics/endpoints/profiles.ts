// /debug/profile and /debug/heap: V8's CPU profile and sampling heap profile, in pprof format; of the main thread, or of the
// worker thread that `?thread=N` names.
import { cpuProfile, heapProfile, HEAP_WINDOW_INTERVAL_BYTES } from '../agent/profiles.js';
import { profileOfThread } from '../agent/thread-profiles.js';
import { cpuToPprof, heapToPprof } from '../pprof/v8-profiles.js';
import { DebugError, formatOf, json, pprof, secondsOf, wholeOf } from './debug-request.js';
import type { AgentParts, DebugRequest, Endpoint } from './debug-request.js';

/** Go's default is 30; a person waits for this one. */
const CPU_SECONDS_DEFAULT = 10;
const HEAP_SECONDS_DEFAULT = 10;
/** Beyond it the profile outgrows the thread's memory. */
const SECONDS_MAX = 300;
/** Starting, stopping and sending, over the window itself. */
const OVERHEAD_MS = 2_000;
/** As Node numbers it. */
const MAIN_THREAD = 0;

/** `?format=json` is V8's own format: save it as `.cpuprofile` and open it in Chrome's or an editor's profiler. */
export const profile: Endpoint = async (request, agent) => {
  const format = formatOf(request, ['pprof', 'json']);
  const seconds = secondsOf(request, CPU_SECONDS_DEFAULT, SECONDS_MAX);
  const thread = await threadOf(request, agent);
  const taken = await agent.gate.run('a CPU profile', seconds * 1000 + OVERHEAD_MS, async () =>
    thread === MAIN_THREAD
      ? cpuProfile(seconds, request.gone)
      : profileOfThread(thread, { kind: 'cpu', seconds, collect: false }, request.gone),
  );
  return format === 'json' ? json(taken) : pprof('profile', await cpuToPprof(taken, agent.maps));
};

/** `?gc=1` collects garbage before it looks, as in Go: it stops the program for as long as a full collection takes. */
export const heap: Endpoint = async (request, agent) => {
  const format = formatOf(request, ['pprof', 'json']);
  const seconds = secondsOf(request, HEAP_SECONDS_DEFAULT, SECONDS_MAX);
  const collect = request.query.get('gc') === '1';
  const thread = await threadOf(request, agent);
  const taken = await agent.gate.run('a heap profile', seconds * 1000 + OVERHEAD_MS, async () =>
    thread === MAIN_THREAD
      ? heapProfile(seconds, collect, request.gone)
      : profileOfThread(thread, { kind: 'heap', seconds, collect }, request.gone),
  );
  const { maps } = agent;
  return format === 'json' ? json(taken) : pprof('heap', await heapToPprof(taken, maps, HEAP_WINDOW_INTERVAL_BYTES));
};

/** `?thread=N`; without: the main thread. @throws DebugError 404 that names the threads there are. */
async function threadOf(request: DebugRequest, { threads }: AgentParts): Promise<number> {
  const thread = wholeOf(request, 'thread', MAIN_THREAD, MAIN_THREAD, Number.MAX_SAFE_INTEGER);
  if (thread === MAIN_THREAD) return thread;
  const known = (await threads.reports()).map((report) => report.thread);
  if (known.includes(thread)) return thread;
  const there = known.length === 0 ? 'no worker thread' : `worker threads ${known.join(', ')}`;
  throw new DebugError(
    404,
    'unknown_thread',
    `thread ${thread} does not answer: there is the main thread, 0, and ${there}`,
  );
}
