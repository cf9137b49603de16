// Watches listeners that pile up on EventEmitters, and costs nothing while there are none: Node itself counts at every
// listener that is added, and warns at the eleventh of one event. From that warning on, or at once where a program has told
// Node not to warn, this one emitter has an `on` of its own that records who adds. Writes into the site table only, and
// keeps no emitter and no listener alive.
import { EventEmitter } from 'node:events';
import type { Sampler } from './sampler.js';
import type { SiteTable } from './site-table.js';
import { Entry } from './site-table.js';
import { captureStack } from './stack.js';
import { replaceFunction } from './wrap.js';

/** Node warns beyond it, unless told otherwise (EventEmitter.defaultMaxListeners); no leak has fewer. */
export const USUAL_LISTENERS = 10;
/** Watched at a time; the listeners of further ones are not seen. */
const EMITTERS_MAX = 1_000;
const METHODS = ['on', 'addListener'] as const;

type Add = (this: Emitter, event: unknown, listener: unknown) => unknown;
type SetMax = (this: Emitter, count: number) => unknown;

interface Emitter extends Readonly<Record<(typeof METHODS)[number], Add>> {
  readonly _events?: Readonly<Record<string | symbol, unknown>>;
}

export interface EmitterWatch {
  /** Looks whether the program has told Node never to warn: then every emitter is watched, which costs a little each time. */
  sweep(): void;
  stop(): void;
}

export interface EmitterWatchOptions {
  readonly table: SiteTable;
  readonly sampler: Sampler;
}

export function watchEmitters({ table, sampler }: EmitterWatchOptions): EmitterWatch {
  /** What undoes it, by emitter, and all of them. */
  const watched = new WeakMap<Emitter, () => void>();
  const all = new Set<WeakRef<Emitter>>();

  const record = (emitter: Emitter, event: unknown): void => {
    if (typeof event !== 'string') return;
    const listeners: unknown = emitter._events?.[event];
    if (!Array.isArray(listeners) || listeners.length <= USUAL_LISTENERS) return;
    // As it was added: for `once` it is the wrapper that Node has just made.
    const added: unknown = listeners.at(-1);
    if (typeof added !== 'function') return;
    const weight = sampler.take();
    if (weight === 0) return;
    const held = new WeakRef(emitter);
    const isLive = (listener: object): boolean => {
      const now: unknown = held.deref()?._events?.[event];
      return now === listener || (Array.isArray(now) && now.includes(listener));
    };
    const made = { kind: 'listener', type: `'${event}' listener`, details: {}, weight, stack: captureStack() } as const;
    table.add(new Entry({ ...made, target: added, isLive }));
  };

  const watch = (emitter: Emitter): void => {
    if (watched.has(emitter)) return;
    for (const held of all) if (held.deref() === undefined) all.delete(held);
    if (all.size >= EMITTERS_MAX) return;
    const undo = METHODS.map((name) =>
      giveOwn(emitter, name, (inherited) => {
        return function added(this: Emitter, event, listener) {
          const result = inherited.call(this, event, listener);
          record(this, event);
          return result;
        };
      }),
    );
    watched.set(emitter, () => {
      for (const restore of undo) restore();
    });
    all.add(new WeakRef(emitter));
  };

  const onWarning = (warning: Error & { readonly emitter?: unknown }): void => {
    if (warning.emitter instanceof EventEmitter) watch(warning.emitter as unknown as Emitter);
  };
  process.on('warning', onWarning);
  const undo = [
    () => process.off('warning', onWarning),
    replaceFunction<SetMax>(
      EventEmitter.prototype,
      'setMaxListeners',
      (original) =>
        function setMaxListeners(count) {
          if (isSilent(count)) watch(this);
          return original.call(this, count);
        },
    ),
  ];

  let watchesAll = false;
  const sweep = (): void => {
    if (watchesAll || !isSilent(EventEmitter.defaultMaxListeners)) return;
    watchesAll = true;
    const adding = (original: Add): Add =>
      function added(event, listener) {
        const result = original.call(this, event, listener);
        if (!watched.has(this)) record(this, event);
        return result;
      };
    for (const name of METHODS) undo.push(replaceFunction(EventEmitter.prototype, name, adding));
  };
  sweep();

  return {
    sweep,
    stop() {
      for (const restore of undo) restore();
      for (const held of all) {
        const emitter = held.deref();
        if (emitter !== undefined) watched.get(emitter)?.();
      }
    },
  };
}

/** With such a maximum Node says nothing at the eleventh listener. */
function isSilent(maxListeners: number): boolean {
  return maxListeners === 0 || maxListeners > USUAL_LISTENERS;
}

/** A method of this one object in the place of the inherited one. The function given back takes it away, if it is still there. */
function giveOwn(emitter: Emitter, name: (typeof METHODS)[number], wrap: (inherited: Add) => Add): () => void {
  const before = Object.getOwnPropertyDescriptor(emitter, name);
  const value = wrap(emitter[name]);
  // False for an object that cannot be extended: it stays as it is.
  if (!Reflect.defineProperty(emitter, name, { value, configurable: true, writable: true, enumerable: false })) {
    return () => undefined;
  }
  return () => {
    if (emitter[name] !== value) return;
    if (before === undefined) Reflect.deleteProperty(emitter, name);
    else Object.defineProperty(emitter, name, before);
  };
}
