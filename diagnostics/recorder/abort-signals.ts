// Watches what piles up on AbortSignals that live long: 'abort' listeners, and signals derived from one by AbortSignal.any.
// A listener costs a count; only those beyond the usual number on one signal are recorded. Writes into the site table only,
// and keeps no listener and no signal alive.
import { getEventListeners } from 'node:events';
import { USUAL_LISTENERS } from './emitters.js';
import type { Sampler } from './sampler.js';
import type { SiteTable } from './site-table.js';
import { Entry } from './site-table.js';
import { captureStack } from './stack.js';
import { replaceFunction } from './wrap.js';

/** A list of a signal's listeners is made again after this long: it costs more the longer it is. */
const LIST_VALID_MS = 100;

/**
 * Before this version a signal remembers every signal ever derived from it by AbortSignal.any, about 1.2 KB each, until
 * it goes itself (nodejs/node#54614); later ones forget those that nobody holds or listens to.
 */
const CLEANED_FROM_MAJOR = 22;
const KEEPS_DEPENDANTS = Number.parseInt(process.versions.node, 10) < CLEANED_FROM_MAJOR;

type Listen = (this: EventTarget, ...args: unknown[]) => void;
type Derive = (this: unknown, signals: Iterable<AbortSignal>) => AbortSignal;

export interface AbortSignalWatchOptions {
  readonly table: SiteTable;
  readonly sampler: Sampler;
}

/** Gives back what undoes it. */
export function watchAbortSignals({ table, sampler }: AbortSignalWatchOptions): () => void {
  const abortLists = new AbortLists();
  const onAbortListener = (signal: AbortSignal): void => {
    if (abortLists.added(signal) <= USUAL_LISTENERS) return;
    const weight = sampler.take();
    if (weight === 0) return;
    const listeners = getEventListeners(signal, 'abort');
    const last = listeners.at(-1);
    if (listeners.length <= USUAL_LISTENERS || last === undefined) return;
    const held = new WeakRef(signal);
    const isLive = (listener: object): boolean => {
      const target = held.deref();
      return target !== undefined && abortLists.of(target).has(listener);
    };
    const made = { kind: 'listener', type: "'abort' listener", details: {}, weight, stack: captureStack() } as const;
    table.add(new Entry({ ...made, target: last, isLive }));
  };

  /** Stands for what the entry watches: the sources differ in how long they live, and any of them may hold it. */
  const anySource = {};
  const onDerived = (derived: AbortSignal, signals: readonly AbortSignal[]): void => {
    const weight = derived.aborted ? 0 : sampler.take();
    if (weight === 0) return;
    const held = new WeakRef(derived);
    const sources = signals.map((signal) => ({ signal: new WeakRef(signal), place: dependants(signal) }));
    const isLive = (): boolean => {
      const composite = held.deref();
      if (composite?.aborted === true) return false;
      const isListenedTo = composite !== undefined && getEventListeners(composite, 'abort').length > 0;
      return sources.some(({ signal, place }) => {
        const source = signal.deref();
        if (source === undefined || source.aborted) return false;
        return isListenedTo || (KEEPS_DEPENDANTS && place > 0 && dependants(source) >= place);
      });
    };
    const made = { kind: 'listener', type: 'AbortSignal.any', details: {}, weight, stack: captureStack() } as const;
    table.add(new Entry({ ...made, target: anySource, isLive }));
  };

  const undo = [
    replaceFunction<Listen>(
      EventTarget.prototype,
      'addEventListener',
      (original) =>
        function added(this: EventTarget, ...args) {
          original.apply(this, args);
          if (args[0] === 'abort' && this instanceof AbortSignal) onAbortListener(this);
        },
    ),
    replaceFunction<Derive>(AbortSignal, 'any', (original) => (signals) => {
      const sources = [...signals];
      const derived = original.call(AbortSignal, sources);
      onDerived(derived, sources);
      return derived;
    }),
  ];
  return () => {
    for (const restore of undo) restore();
  };
}

/** How many signals this one remembers as derived from it; 0 where Node does not tell. */
function dependants(signal: AbortSignal): number {
  const key = Object.getOwnPropertySymbols(signal).find(({ description }) => description === 'kDependantSignals');
  const held: unknown = key === undefined ? undefined : (signal as unknown as Record<symbol, unknown>)[key];
  return typeof held === 'object' && held !== null && 'size' in held ? Number(held.size) : 0;
}

/** Counts what is added to a signal, and lists what is really there no oftener than needed. */
class AbortLists {
  readonly #added = new WeakMap<AbortSignal, number>();
  readonly #lists = new WeakMap<AbortSignal, { readonly at: number; readonly listeners: ReadonlySet<object> }>();

  /** How many have ever been added, this one included. */
  added(signal: AbortSignal): number {
    const count = (this.#added.get(signal) ?? 0) + 1;
    this.#added.set(signal, count);
    return count;
  }

  of(signal: AbortSignal): ReadonlySet<object> {
    const known = this.#lists.get(signal);
    if (known !== undefined && performance.now() - known.at < LIST_VALID_MS) return known.listeners;
    const listeners = new Set(getEventListeners(signal, 'abort'));
    this.#lists.set(signal, { at: performance.now(), listeners });
    return listeners;
  }
}
