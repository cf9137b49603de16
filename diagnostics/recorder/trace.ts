// A window of full traces: async_hooks over every async resource, with its stack and what triggered it. Far too dear for
// always (with stacks a promise-heavy program becomes about 20 times slower, on Node 20), so it ends by itself when it is full.
import type { AsyncHook } from 'node:async_hooks';
import { createHook, executionAsyncId } from 'node:async_hooks';
import type { TraceEntry, TraceMode, TraceResult } from '../model.js';
import { captureStack, readStack } from './stack.js';

interface Traced {
  readonly triggerAsyncId: number;
  readonly executionAsyncId: number;
  readonly type: string;
  readonly createdAt: number;
  endedAt: number | undefined;
  readonly stack: Error;
}

export interface TraceOptions {
  readonly mode: TraceMode;
  /** When as many resources were seen the window records no more: `dropped` counts the rest. */
  readonly maxEntries: number;
}

export class Trace {
  readonly mode: TraceMode;
  readonly #from = Date.now();
  readonly #maxEntries: number;
  readonly #entries = new Map<number, Traced>();
  #dropped = 0;
  readonly #hook: AsyncHook;

  constructor({ mode, maxEntries }: TraceOptions) {
    this.mode = mode;
    this.#maxEntries = maxEntries;
    const init = (asyncId: number, type: string, triggerAsyncId: number): void => {
      if ((mode === 'promises') === (type !== 'PROMISE') && mode !== 'all') return;
      if (this.#entries.size >= this.#maxEntries) {
        this.#dropped += 1;
        return;
      }
      const stack = captureStack();
      const now = Date.now();
      this.#entries.set(asyncId, {
        ...{ triggerAsyncId, executionAsyncId: executionAsyncId(), type, createdAt: now, endedAt: undefined, stack },
      });
    };
    const ended = (asyncId: number): void => {
      const entry = this.#entries.get(asyncId);
      if (entry !== undefined) entry.endedAt ??= Date.now();
    };
    // Without a destroy hook for promises Node need not watch each for collection: their settling is their end.
    const hooks = { init, promiseResolve: ended, ...(mode === 'promises' ? {} : { destroy: ended }) };
    this.#hook = createHook(mode === 'without-promises' ? ({ ...hooks, trackPromises: false } as typeof hooks) : hooks);
    this.#hook.enable();
  }

  /** Ends the window; only now are the stacks read. */
  stop(): TraceResult {
    this.#hook.disable();
    const entries = [...this.#entries].flatMap(([asyncId, { stack, endedAt, ...traced }]): TraceEntry[] => {
      const { frames, isAgents } = readStack(stack);
      if (isAgents) return [];
      return [{ asyncId, ...traced, ...(endedAt === undefined ? {} : { endedAt }), stack: frames }];
    });
    this.#entries.clear();
    return { mode: this.mode, from: this.#from, to: Date.now(), entries, dropped: this.#dropped };
  }
}
