// The recorder: knows what async resources are live in this thread, where they were created and how old they are.
// Puts the watchers together and sweeps their table; `stop` takes everything away again. Touches the functions of Node
// that the watchers wrap, and nothing else; it does no I/O.
//
// Always on. What is recorded of very many is a sample (`promiseRate`), and what is shown is scaled to all. A resource
// appears once it has outlived a sweep: `created` and `ended` of a site count only those.
import type { RecorderSnapshot, TraceMode, TraceResult } from '../model.js';
import { watchAbortSignals } from './abort-signals.js';
import { watchEmitters } from './emitters.js';
import { watchHandles } from './handles.js';
import { watchPromises } from './promises.js';
import { Sampler } from './sampler.js';
import { watchServers } from './servers.js';
import { SiteTable } from './site-table.js';
import { watchTimers } from './timers.js';
import { Trace } from './trace.js';

/**
 * Stacks per second for promises: 0.15 % of a core. Taken now and then, between other work, one costs some 30 µs (median in an
 * `http` worker under load); in a tight loop it is 5.
 */
const PROMISE_STACKS_PER_SECOND_MAX = 50;
/** The same, for each of timers, handles and listeners. */
const OTHER_STACKS_PER_SECOND_MAX = 50;
/**
 * The budget of promises is that of a process that keeps a core busy. One that gets or wants less of it spends less, so that the
 * stacks stay a share of its work; but no less than this share, so that a quiet program is still seen well.
 */
const BUDGET_SHARE_MIN = 0.5;
const MICROS_PER_MS = 1_000;
const ENTRIES_MAX = 20_000;
const SITES_MAX = 2_000;
const SWEEP_MS = 500;
/** A trace window that nobody ends ends by itself; long before it the window is full in a busy program. */
const TRACE_MS_MAX = 120_000;
const TRACE_ENTRIES_MAX = 100_000;

export interface RecorderOptions {
  /** Stacks of promises per second that may be taken. */
  readonly promiseStacksPerSecondMax?: number;
  /** Live resources that are held in records, all together. */
  readonly entriesMax?: number;
  readonly sitesMax?: number;
  readonly sweepMs?: number;
  /** 0 to 1, for the sampling. */
  readonly random?: () => number;
}

export interface Recorder {
  /**
   * What is live now. Takes a few ms at most: it reads the stacks of the newest ones. They are places in the code that runs;
   * whoever shows them finds those that the user wrote (`SourceMaps`). `each`: with every recorded one.
   */
  snapshot(options?: { readonly each?: boolean }): RecorderSnapshot;
  /** Begins a window of full traces. Throws RangeError while another one runs. */
  startTrace(options: { readonly mode: TraceMode; readonly maxEntries?: number }): void;
  /** Ends it. Throws RangeError when there is none. */
  stopTrace(): TraceResult;
  /** Takes away every hook and wrapper. Snapshots are empty afterwards. */
  stop(): void;
}

/** Types that the recorder follows itself, as getActiveResourcesInfo names them. */
const FOLLOWED_TYPES = new Set([
  'Timeout',
  'Immediate',
  'TCPSocketWrap',
  'TCPServerWrap',
  'ProcessWrap',
  'MessagePort',
]);

/** Starts recording in this thread. One recorder per thread: a second one would record the first one's work. */
export function startRecorder(options: RecorderOptions = {}): Recorder {
  const random = options.random ?? Math.random;
  const promiseStacksMax = options.promiseStacksPerSecondMax ?? PROMISE_STACKS_PER_SECOND_MAX;
  const entriesMax = options.entriesMax ?? ENTRIES_MAX;
  const sitesMax = options.sitesMax ?? SITES_MAX;
  const table = new SiteTable({ entriesMax, sitesMax });
  const sampler = (perSecondMax: number): Sampler => new Sampler({ perSecondMax, random });
  const samplers = {
    promises: sampler(promiseStacksMax),
    timers: sampler(OTHER_STACKS_PER_SECOND_MAX),
    handles: sampler(OTHER_STACKS_PER_SECOND_MAX),
    listeners: sampler(OTHER_STACKS_PER_SECOND_MAX),
  };

  // Taken before the timers are wrapped: the recorder does not record itself.
  const { setTimeout, setInterval } = globalThis;
  let sweptAt = performance.now();
  let used = process.cpuUsage();
  const sweep = (): void => {
    const now = performance.now();
    const elapsedMs = Math.max(1, now - sweptAt);
    table.sweep();
    emitters.sweep();
    const { user, system } = process.cpuUsage(used);
    const share = Math.min(1, Math.max(BUDGET_SHARE_MIN, (user + system) / MICROS_PER_MS / elapsedMs));
    for (const each of Object.values(samplers)) each.adjust(elapsedMs, each === samplers.promises ? share : 1);
    sweptAt = now;
    used = process.cpuUsage();
  };
  const sweeping = setInterval(sweep, options.sweepMs ?? SWEEP_MS).unref();

  const promises = watchPromises({ table, sampler: samplers.promises });
  const emitters = watchEmitters({ table, sampler: samplers.listeners });
  const undo = [
    () => promises.stop(),
    watchTimers({ table, sampler: samplers.timers, promises }),
    watchHandles({ table, sampler: samplers.handles }),
    watchServers({ table, sampler: samplers.handles }),
    () => emitters.stop(),
    watchAbortSignals({ table, sampler: samplers.listeners }),
  ];
  let trace: { readonly window: Trace; readonly limit: NodeJS.Timeout; result: TraceResult | undefined } | undefined;
  let isRunning = true;

  const stopTrace = (): TraceResult => {
    if (trace === undefined) throw new RangeError('no trace window is running');
    const { window, limit, result } = trace;
    clearTimeout(limit);
    trace = undefined;
    return result ?? window.stop();
  };

  return {
    snapshot({ each = false } = {}) {
      if (isRunning) table.sweep();
      const sites = isRunning ? table.samples(each) : [];
      const liveByType: Record<string, number> = {};
      for (const { kind, type, live } of sites) {
        // It lives no more: its number only ever rises.
        if (kind === 'abandoned') continue;
        liveByType[type] = (liveByType[type] ?? 0) + live;
      }
      for (const type of process.getActiveResourcesInfo()) {
        if (!FOLLOWED_TYPES.has(type)) liveByType[type] = (liveByType[type] ?? 0) + 1;
      }
      return {
        at: Date.now(),
        mode: isRunning ? (trace === undefined ? 'always-on' : 'trace') : 'off',
        promiseRate: samplers.promises.rate,
        stacksPerSecond: Object.values(samplers).reduce((sum, { perSecond }) => sum + perSecond, 0),
        stacksPerSecondMax: promiseStacksMax + 3 * OTHER_STACKS_PER_SECOND_MAX,
        sites,
        liveByType,
        own: { entries: table.entries, entriesMax, sites: table.sites, sitesMax, bytes: table.bytes },
      };
    },
    startTrace({ mode, maxEntries = TRACE_ENTRIES_MAX }) {
      if (trace !== undefined) throw new RangeError('a trace window is running already');
      const limit = setTimeout(() => {
        if (trace !== undefined) trace.result = trace.window.stop();
      }, TRACE_MS_MAX).unref();
      trace = { window: new Trace({ mode, maxEntries }), limit, result: undefined };
    },
    stopTrace,
    stop() {
      if (!isRunning) return;
      isRunning = false;
      clearInterval(sweeping);
      if (trace !== undefined) stopTrace();
      for (const each of Object.values(samplers)) each.stop();
      for (const restore of undo) restore();
    },
  };
}
