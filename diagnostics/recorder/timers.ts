// Watches timers by wrapping the functions that make them: the globals, `node:timers`, `node:timers/promises` (an interval is live
// until its iteration is left) and
// `AbortSignal.timeout`. What an ES module imported by name before is caught too (syncBuiltinESMExports); Node's inner
// timers, and functions that somebody kept before the start, are not seen. Writes into the site table only.
import { syncBuiltinESMExports } from 'node:module';
import timers from 'node:timers';
import timersPromises from 'node:timers/promises';
import type { PromiseWatch } from './promises.js';
import type { Sampler } from './sampler.js';
import type { SiteTable } from './site-table.js';
import { Entry } from './site-table.js';
import { captureStack } from './stack.js';
import { replaceFunction } from './wrap.js';

const TYPES = { setTimeout: 'Timeout', setInterval: 'Interval', setImmediate: 'Immediate' } as const;

type Make = (this: unknown, ...args: unknown[]) => object;

/** Node keeps it in Timeout and Immediate, true once fired or cleared, false again after `refresh()`. */
interface NodeTimer {
  readonly _destroyed?: boolean;
}
const isTimerLive = (timer: object): boolean => (timer as NodeTimer)._destroyed !== true;
const isSignalWaiting = (signal: object): boolean => !(signal as AbortSignal).aborted;

export interface TimerWatchOptions {
  readonly table: SiteTable;
  readonly sampler: Sampler;
  readonly promises: PromiseWatch;
}

/** Gives back what undoes it. */
export function watchTimers({ table, sampler, promises }: TimerWatchOptions): () => void {
  const undo: (() => void)[] = [];

  for (const name of ['setTimeout', 'setInterval', 'setImmediate'] as const) {
    const kind = name === 'setImmediate' ? 'immediate' : 'timer';
    const type = TYPES[name];
    const wrapper = (original: Make): Make =>
      function wrapped(this: unknown, ...args) {
        const timer = original.apply(this, args);
        const weight = sampler.take();
        if (weight > 0) {
          const details = kind === 'timer' ? { delayMs: delayOf(args[1]) } : {};
          const stack = captureStack();
          table.add(new Entry({ kind, type, details, weight, stack, target: timer, isLive: isTimerLive }));
        }
        return timer;
      };
    undo.push(replaceFunction(globalThis, name, wrapper), replaceFunction(timers, name, wrapper));
  }

  const marking = (original: Make): Make =>
    function marked(this: unknown, ...args) {
      const promise = original.apply(this, args) as Promise<unknown>;
      const weight = sampler.take();
      const details = { delayMs: delayOf(args[0]) };
      if (weight > 0) promises.markAsTimer(promise, { type: 'timers/promises', details, weight });
      return promise;
    };
  undo.push(
    replaceFunction(timersPromises, 'setTimeout', marking),
    replaceFunction(Object.getPrototypeOf(timersPromises.scheduler) as object, 'wait', marking),
    replaceFunction<Make>(timersPromises, 'setInterval', (original) => (...args) => {
      const ticks = original(...args) as Ticks;
      const weight = sampler.take();
      if (weight > 0) {
        const details = { delayMs: delayOf(args[0]) };
        const made = { kind: 'timer', type: TYPES.setInterval, details, weight, stack: captureStack() } as const;
        const leaving: Leaving = { isLeft: false };
        noteLeaving(ticks, leaving);
        table.add(new Entry({ ...made, target: ticks, isLive: untilLeft(leaving, signalOf(args[2])) }));
      }
      return ticks;
    }),
    replaceFunction<Make>(AbortSignal, 'timeout', (original) => (...args) => {
      const signal = original.apply(AbortSignal, args) as AbortSignal;
      const weight = sampler.take();
      if (weight > 0) {
        const details = { delayMs: delayOf(args[0]) };
        const made = { kind: 'timer', type: 'AbortSignal.timeout', details, weight, stack: captureStack() } as const;
        table.add(new Entry({ ...made, target: signal, isLive: isSignalWaiting }));
      }
      return signal;
    }),
  );
  syncBuiltinESMExports();

  return () => {
    for (const restore of undo) restore();
    syncBuiltinESMExports();
  };
}

/** What `for await` calls when it is left. */
type Ticks = AsyncIterator<unknown> & { return: (value?: unknown) => Promise<IteratorResult<unknown>> };

interface Leaving {
  isLeft: boolean;
}

/** Notes when the iteration of the ticks is left. */
function noteLeaving(ticks: Ticks, leaving: Leaving): void {
  const leave = ticks.return.bind(ticks);
  ticks.return = async (value) => {
    leaving.isLeft = true;
    return leave(value);
  };
}

/** Of the options, which nobody has checked yet. */
function signalOf(options: unknown): WeakRef<AbortSignal> | undefined {
  const signal = (options as { readonly signal?: unknown } | null | undefined)?.signal;
  return signal instanceof AbortSignal ? new WeakRef(signal) : undefined;
}

/** The ticks go on until they are left, or the signal aborted. In a function of its own: a closure that shares a scope with the ticks keeps them alive. */
function untilLeft(leaving: Leaving, signal: WeakRef<AbortSignal> | undefined): () => boolean {
  return () => !leaving.isLeft && signal?.deref()?.aborted !== true;
}

/** As Node takes it: what is no number, or below 1, is 1 ms. */
function delayOf(argument: unknown): number {
  const delayMs = Number(argument);
  return delayMs >= 1 ? Math.floor(delayMs) : 1;
}
