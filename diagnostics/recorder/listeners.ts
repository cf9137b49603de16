// Watches listeners that pile up: on EventEmitters, on AbortSignals, and signals derived from one by AbortSignal.any.
// A listener costs a comparison; only those beyond a dozen of one event on one emitter are recorded, because no leak
// has fewer. Writes into the site table only, and keeps no emitter, listener or signal alive.
import { EventEmitter, getEventListeners } from 'node:events';
import type { Sampler } from './sampler.js';
import type { SiteTable } from './site-table.js';
import { Entry } from './site-table.js';
import { captureStack } from './stack.js';
import { replaceFunction } from './wrap.js';

/** Node itself warns beyond 10 listeners (EventEmitter.defaultMaxListeners). */
const USUAL_LISTENERS = 10;

/** A list of a signal's listeners is made again after this long: it costs more the longer it is. */
const LIST_VALID_MS = 100;

/**
 * Before this version a signal remembers every signal ever derived from it by AbortSignal.any, about 1.2 KB each, until
 * it goes itself (nodejs/node#54614); later ones forget those that nobody holds or listens to.
 */
const CLEANED_FROM_MAJOR = 22;
const KEEPS_DEPENDANTS = Number.parseInt(process.versions.node, 10) < CLEANED_FROM_MAJOR;

interface Emitter {
  readonly _events?: Readonly<Record<string | symbol, unknown>>;
}

export interface ListenerWatchOptions {
  readonly table: SiteTable;
  readonly sampler: Sampler;
}

/** Gives back what undoes it. */
export function watchListeners({ table, sampler }: ListenerWatchOptions): () => void {
  const record = (type: string, listener: object, isLive: (listener: object) => boolean): void => {
    const weight = sampler.take();
    if (weight === 0) return;
    table.add(
      new Entry({ kind: 'listener', type, details: {}, weight, stack: captureStack(), target: listener, isLive }),
    );
  };

  const onAdded = (emitter: Emitter, event: unknown): void => {
    if (typeof event !== 'string') return;
    const listeners: unknown = emitter._events?.[event];
    if (!Array.isArray(listeners) || listeners.length <= USUAL_LISTENERS) return;
    // As it was added: for `once` it is the wrapper that Node has just made.
    const added: unknown = listeners.at(-1);
    if (typeof added !== 'function') return;
    const held = new WeakRef(emitter);
    record(`'${event}' listener`, added, (listener) => {
      const now: unknown = held.deref()?._events?.[event];
      return now === listener || (Array.isArray(now) && now.includes(listener));
    });
  };

  const adding = (original: (...args: unknown[]) => unknown) =>
    function added(this: object, ...args: unknown[]): unknown {
      const result = Reflect.apply(original, this, args);
      onAdded(this, args[0]);
      return result;
    };

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

  const onDerived = (derived: AbortSignal, sources: readonly AbortSignal[]): void => {
    const weight = sampler.take();
    if (weight === 0 || derived.aborted) return;
    const held = new WeakRef(derived);
    for (const source of sources) {
      const place = dependants(source);
      const isLive = (signal: object): boolean => {
        const composite = held.deref();
        if ((signal as AbortSignal).aborted || composite?.aborted === true) return false;
        if (composite !== undefined && getEventListeners(composite, 'abort').length > 0) return true;
        return KEEPS_DEPENDANTS && place > 0 && dependants(signal as AbortSignal) >= place;
      };
      const made = { kind: 'listener', type: 'AbortSignal.any', details: {}, weight, stack: captureStack() } as const;
      table.add(new Entry({ ...made, target: source, isLive }));
    }
  };

  const undo = [
    replaceFunction(EventEmitter.prototype, 'on', adding),
    replaceFunction(EventEmitter.prototype, 'addListener', adding),
    replaceFunction(
      EventTarget.prototype,
      'addEventListener',
      (original) =>
        function added(this: EventTarget, ...args: unknown[]): unknown {
          const result = Reflect.apply(original, this, args);
          if (args[0] === 'abort' && this instanceof AbortSignal) onAbortListener(this);
          return result;
        },
    ),
    replaceFunction(
      AbortSignal,
      'any',
      (original) =>
        function any(...args: unknown[]): unknown {
          const sources = [...(args[0] as Iterable<AbortSignal>)];
          const derived = Reflect.apply(original, AbortSignal, [sources]) as AbortSignal;
          onDerived(derived, sources);
          return derived;
        },
    ),
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
