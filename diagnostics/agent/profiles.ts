// Takes profiles: CPU time, and where living memory was allocated. Of the main thread from outside, also while its loop is
// blocked; of a worker thread from within it.
import type { HeapProfiler, Profiler } from 'node:inspector';
import { elapse, inTime, withMainThread } from './inspector-session.js';

/** V8's own default. */
const CPU_SAMPLING_INTERVAL_US = 1_000;
/** V8's default. Go's 512 KiB would see too little in a window of seconds. */
export const HEAP_WINDOW_INTERVAL_BYTES = 32 * 1024;
/** A profile of minutes has many nodes to send; a full collection of a large heap takes seconds. */
export const RESULT_TIMEOUT_MS = 30_000;

/** Watches for `seconds`, or until the client goes away. */
export async function cpuProfile(
  seconds: number,
  gone: AbortSignal,
  withThread = withMainThread,
): Promise<Profiler.Profile> {
  return withThread(async (session) => {
    await inTime('Profiler.enable', session.post('Profiler.enable'));
    const interval = session.post('Profiler.setSamplingInterval', { interval: CPU_SAMPLING_INTERVAL_US });
    await inTime('Profiler.setSamplingInterval', interval);
    await inTime('Profiler.start', session.post('Profiler.start'));
    await elapse(seconds * 1000, gone);
    return (await inTime('Profiler.stop', session.post('Profiler.stop'), RESULT_TIMEOUT_MS)).profile;
  });
}

/** What was allocated in a window of `seconds` and lives at its end. `collect`: after a full garbage collection. */
export async function heapProfile(
  seconds: number,
  collect: boolean,
  gone: AbortSignal,
  withThread = withMainThread,
): Promise<HeapProfiler.SamplingHeapProfile> {
  return withThread(async (session) => {
    const start = session.post('HeapProfiler.startSampling', { samplingInterval: HEAP_WINDOW_INTERVAL_BYTES });
    await inTime('HeapProfiler.startSampling', start);
    await elapse(seconds * 1000, gone);
    if (collect)
      await inTime('HeapProfiler.collectGarbage', session.post('HeapProfiler.collectGarbage'), RESULT_TIMEOUT_MS);
    const result = session.post('HeapProfiler.stopSampling');
    return (await inTime('HeapProfiler.stopSampling', result, RESULT_TIMEOUT_MS)).profile;
  });
}
