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
    const listeners = listenersOf(emitter, event);
    if (listeners.length <= USUAL_LISTENERS) return;
    // As it was added: for `once` it is the wrapper that Node has just made.
    const added = listeners.at(-1);
    if (typeof added !== 'function') return;
    const weight = sampler.take();
    if (weight === 0) return;
    const held = new WeakRef(emitter);
    const isLive = (listener: object): boolean => {
      const target = held.deref();
      return target !== undefined && listenersOf(target, event).includes(listener);
    };
    const type = `'${String(event)}' listener`;
    const made = { kind: 'listener', type, details: {}, weight, stack: captureStack() } as const;
    table.add(new Entry({ ...made, target: added, isLive }));
  };

  /** Calls that are under way: a class whose `addListener` calls its `on` adds one listener, and is called twice. */
  let depth = 0;
  const recording = (inherited: Add): Add =>
    function added(event, listener) {
      const before = listenersOf(this, event).length;
      depth += 1;
      let result: unknown;
      try {
        result = inherited.call(this, event, listener);
      } finally {
        depth -= 1;
      }
      if (depth === 0 && listenersOf(this, event).length > before) record(this, event);
      return result;
    };

  const watch = (emitter: Emitter): void => {
    if (watched.has(emitter)) return;
    if (all.size >= EMITTERS_MAX) {
      for (const held of all) if (held.deref() === undefined) all.delete(held);
      if (all.size >= EMITTERS_MAX) return;
    }
    const undo = METHODS.map((name) => giveOwn(emitter, name, recording));
    watched.set(emitter, () => {
      for (const restore of undo) restore();
    });
    all.add(new WeakRef(emitter));
  };

  const onWarning = (warning: Error & { readonly emitter?: unknown }): void => {
    if (warning.emitter instanceof EventEmitter) watch(warning.emitter as unknown as Emitter);
  };
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
    // A program that removes all listeners of warnings, to be silent, means the one that prints.
    if (!process.listeners('warning').includes(onWarning)) process.on('warning', onWarning);
    if (watchesAll || !isSilent(EventEmitter.defaultMaxListeners)) return;
    watchesAll = true;
    for (const name of METHODS) undo.push(replaceFunction(EventEmitter.prototype, name, recording));
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

/** What Node keeps: nothing, the only listener, or a list. */
function listenersOf(emitter: Emitter, event: unknown): readonly unknown[] {
  if (typeof event !== 'string') return [];
  const listeners: unknown = emitter._events?.[event];
  if (Array.isArray(listeners)) return listeners;
  return listeners === undefined ? [] : [listeners];
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
