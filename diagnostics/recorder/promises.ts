// Watches promises through v8.promiseHooks. Writes into the site table; touches nothing else. A recorded promise carries
// its entry in a private field that no reflection sees, so that its settling finds the entry without a look-up by key.
import { promiseHooks } from 'node:v8';
import type { Sampler } from './sampler.js';
import type { SiteTable } from './site-table.js';
import { Entry } from './site-table.js';
import { captureStack } from './stack.js';

/** A constructor that gives back its argument lets a subclass put a private field on any object, frozen ones too. */
// eslint-disable-next-line @typescript-eslint/no-extraneous-class -- the constructor is the point
class Given {
  constructor(given: object) {
    return given;
  }
}

class Stamp extends Given {
  readonly #entry: Entry;

  constructor(promise: object, entry: Entry) {
    super(promise);
    this.#entry = entry;
  }

  static of(promise: object): Entry | undefined {
    return #entry in promise ? promise.#entry : undefined;
  }
}

/** `by` is completed with the built-in that was called, once the stack is read. */
const AWAITED = { by: 'await' };
const OF_ASYNC_FUNCTION = { by: 'async function' };

export interface Mark {
  readonly type: string;
  readonly details: Entry['details'];
  readonly weight: number;
}

export interface PromiseWatch {
  /** Records a promise as a timer: for those of `node:timers/promises`. */
  markAsTimer(promise: Promise<unknown>, mark: Mark): void;
  stop(): void;
}

export interface PromiseWatchOptions {
  readonly table: SiteTable;
  readonly sampler: Sampler;
}

export function watchPromises({ table, sampler }: PromiseWatchOptions): PromiseWatch {
  const record = (promise: object, kind: 'promise' | 'timer', { type, details, weight }: Mark): void => {
    const entry = new Entry({ kind, type, details, weight, stack: captureStack(), target: promise });
    new Stamp(promise, entry);
    table.add(entry);
  };
  const init = (promise: object, parent: object | undefined): void => {
    const weight = sampler.take();
    if (weight === 0) return;
    record(promise, 'promise', {
      type: 'PROMISE',
      details: parent === undefined ? OF_ASYNC_FUNCTION : AWAITED,
      weight,
    });
  };
  const settled = (promise: object): void => {
    const entry = Stamp.of(promise);
    if (entry !== undefined) table.end(entry);
  };
  // The types know neither that `parent` may be missing nor that a function comes back.
  const stop = promiseHooks.createHook({ init, settled }) as unknown as () => void;
  return {
    markAsTimer(promise, mark) {
      const entry = Stamp.of(promise);
      if (entry === undefined) record(promise, 'timer', mark);
      else if (!entry.ended && entry.site === undefined) Object.assign(entry, { kind: 'timer', ...mark });
    },
    stop,
  };
}
