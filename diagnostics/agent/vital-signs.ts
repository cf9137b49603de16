// Reads the vital signs of the thread it runs in: event-loop delay and utilisation, memory, GC pauses. Reading takes
// some 50 µs and is done when asked. Nothing here keeps a process alive.
import { constants, monitorEventLoopDelay, performance, PerformanceObserver } from 'node:perf_hooks';
import type { EventLoopUtilization, PerformanceEntry } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import { DelayHistogram } from './delay-histogram.js';
import type { DelayBucket } from './delay-histogram.js';
import type { GcTotals, VitalSigns } from './messages.js';

/**
 * How often the histogram looks how late the loop is; what it sees is exact. At 10 ms looking costs 2.3 ms of CPU a second, at
 * 50 ms 0.8 (measured).
 */
const LOOP_DELAY_RESOLUTION_MS = 50;
const NANOSECONDS_PER_MS = 1e6;

const GC_KINDS: Readonly<Record<number, string>> = {
  [constants.NODE_PERFORMANCE_GC_MINOR]: 'minor',
  [constants.NODE_PERFORMANCE_GC_MAJOR]: 'major',
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: 'incremental',
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: 'weak callbacks',
};

interface Pauses {
  count: number;
  pauseMs: number;
  longestMs: number;
}

export class VitalSignsReader {
  readonly #delay = monitorEventLoopDelay({ resolution: LOOP_DELAY_RESOLUTION_MS });
  readonly #observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) this.#addPause(entry);
  });
  readonly #delays = new DelayHistogram();
  readonly #totals = new Map<string, Pauses>();
  #recent: Pauses = { count: 0, pauseMs: 0, longestMs: 0 };
  #utilization: EventLoopUtilization = performance.eventLoopUtilization();
  #readAt = Date.now();

  start(): void {
    this.#delay.enable();
    this.#observer.observe({ entryTypes: ['gc'] });
  }

  stop(): void {
    this.#delay.disable();
    this.#observer.disconnect();
  }

  /** The time since the last call, or since the start; with a block of the loop that is just over. */
  async read(): Promise<VitalSigns> {
    await untilTimersHaveRun();
    const at = Date.now();
    const utilization = performance.eventLoopUtilization();
    const { utilization: share } = performance.eventLoopUtilization(utilization, this.#utilization);
    const memory = process.memoryUsage();
    const vitals: VitalSigns = {
      at,
      intervalMs: at - this.#readAt,
      uptimeSeconds: Math.round(process.uptime()),
      loop: { utilization: share, delayMs: this.#readDelay() },
      memory: {
        rss: memory.rss,
        heapUsed: memory.heapUsed,
        heapTotal: memory.heapTotal,
        heapLimit: getHeapStatistics().heap_size_limit,
        external: memory.external,
        arrayBuffers: memory.arrayBuffers,
      },
      gc: this.#recent,
    };
    this.#recent = { count: 0, pauseMs: 0, longestMs: 0 };
    this.#utilization = utilization;
    this.#readAt = at;
    return vitals;
  }

  gcTotals(): GcTotals {
    return Object.fromEntries(this.#totals);
  }

  /** Of the event loop, over all readings since the start. */
  delays(): DelayBucket[] {
    return this.#delays.read();
  }

  #readDelay(): VitalSigns['loop']['delayMs'] {
    const late = (nanoseconds: number): number =>
      Math.max(0, round(nanoseconds / NANOSECONDS_PER_MS - LOOP_DELAY_RESOLUTION_MS));
    // An empty histogram says NaN and a nonsense minimum: no tick of it has run yet.
    const reading =
      this.#delay.count === 0
        ? { mean: 0, p50: 0, p99: 0, max: 0 }
        : {
            mean: late(this.#delay.mean),
            p50: late(this.#delay.percentile(50)),
            p99: late(this.#delay.percentile(99)),
            max: late(this.#delay.max),
          };
    const percentiles = [...this.#delay.percentiles].map(([percentile, ns]) => [percentile, late(ns)] as const);
    this.#delays.add(percentiles, this.#delay.count);
    this.#delay.reset();
    return reading;
  }

  #addPause(entry: PerformanceEntry): void {
    const { duration: durationMs } = entry;
    const { detail } = entry as { detail?: { kind?: number } };
    const kind = GC_KINDS[detail?.kind ?? -1] ?? 'other';
    const total = this.#totals.get(kind) ?? { count: 0, pauseMs: 0, longestMs: 0 };
    this.#totals.set(kind, total);
    for (const pauses of [total, this.#recent]) {
      pauses.count += 1;
      pauses.pauseMs += durationMs;
      pauses.longestMs = Math.max(pauses.longestMs, durationMs);
    }
  }
}

/**
 * The histogram is fed by a timer of libuv's, and a question that waited while the loop was blocked is heard before the timers are
 * run: emptied then, the histogram would never hear of the block.
 */
async function untilTimersHaveRun(): Promise<void> {
  await new Promise<void>((resolve) => {
    setTimeout(resolve, 1).unref();
  });
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
