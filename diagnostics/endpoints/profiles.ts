// /debug/profile and /debug/heap: V8's CPU profile and sampling heap profile of the main thread, in pprof format.
import { cpuProfile, heapProfile, HEAP_WINDOW_INTERVAL_BYTES } from '../agent/profiles.js';
import { cpuToPprof, heapToPprof } from '../pprof/v8-profiles.js';
import { formatOf, json, pprof, secondsOf } from './debug-request.js';
import type { Endpoint } from './debug-request.js';

/** Go's default is 30; a person waits for this one. */
const CPU_SECONDS_DEFAULT = 10;
const HEAP_SECONDS_DEFAULT = 10;
/** Beyond it the profile outgrows the thread's memory. */
const SECONDS_MAX = 300;
/** Starting, stopping and sending, over the window itself. */
const OVERHEAD_MS = 2_000;

/** `?format=json` is V8's own format: save it as `.cpuprofile` and open it in Chrome's or an editor's profiler. */
export const profile: Endpoint = async (request, { gate, maps }) => {
  const format = formatOf(request, ['pprof', 'json']);
  const seconds = secondsOf(request, CPU_SECONDS_DEFAULT, SECONDS_MAX);
  const taken = await gate.run('a CPU profile', seconds * 1000 + OVERHEAD_MS, async () =>
    cpuProfile(seconds, request.gone),
  );
  return format === 'json' ? json(taken) : pprof('profile', await cpuToPprof(taken, maps));
};

/** `?gc=1` collects garbage before it looks, as in Go: it stops the program for as long as a full collection takes. */
export const heap: Endpoint = async (request, { gate, maps }) => {
  const format = formatOf(request, ['pprof', 'json']);
  const seconds = secondsOf(request, HEAP_SECONDS_DEFAULT, SECONDS_MAX);
  const collect = request.query.get('gc') === '1';
  const taken = await gate.run('a heap profile', seconds * 1000 + OVERHEAD_MS, async () =>
    heapProfile(seconds, collect, request.gone),
  );
  return format === 'json' ? json(taken) : pprof('heap', await heapToPprof(taken, maps, HEAP_WINDOW_INTERVAL_BYTES));
};
