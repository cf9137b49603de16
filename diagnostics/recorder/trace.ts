// A window of full traces: async_hooks over every async resource, with its stack, what triggered it and on behalf of which
// request to an HTTP server of this program. Far too dear for
// always (with stacks a promise-heavy program becomes about 20 times slower, on Node 20), so it ends by itself when it is full.
import type { AsyncHook } from 'node:async_hooks';
import { createHook, executionAsyncId } from 'node:async_hooks';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { IncomingMessage } from 'node:http';
import type { TraceEntry, TraceMode, TraceResult } from '../model.js';
import { captureStack, readStack } from './stack.js';

const REQUESTS_CHANNEL = 'http.server.request.start';
const REQUEST_TEXT_MAX = 200;

interface Traced {
  readonly triggerAsyncId: number;
  readonly executionAsyncId: number;
  readonly type: string;
  readonly createdAt: number;
  endedAt: number | undefined;
  readonly stack: Error;
  readonly request: string | undefined;
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
  /** By the resource that a request begins in, which lives as long as its connection: the latest one of each. */
  readonly #requests = new Map<number, string>();
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
      const executing = executionAsyncId();
      const request = this.#requestOf(triggerAsyncId) ?? this.#requestOf(executing);
      this.#entries.set(asyncId, {
        ...{ triggerAsyncId, executionAsyncId: executing, type, createdAt: now, endedAt: undefined, stack, request },
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
    subscribe(REQUESTS_CHANNEL, this.#onRequest);
  }

  readonly #onRequest = (message: unknown): void => {
    if (this.#requests.size >= this.#maxEntries) return;
    const { method = '', url = '' } = (message as { readonly request: IncomingMessage }).request;
    const [path = ''] = url.split('?', 1);
    this.#requests.set(executionAsyncId(), `${method} ${path}`.slice(0, REQUEST_TEXT_MAX));
  };

  /** What a resource was made for, what it makes is made for. */
  #requestOf(asyncId: number): string | undefined {
    return this.#entries.get(asyncId)?.request ?? this.#requests.get(asyncId);
  }

  /** Ends the window; only now are the stacks read. */
  stop(): TraceResult {
    this.#hook.disable();
    unsubscribe(REQUESTS_CHANNEL, this.#onRequest);
    this.#requests.clear();
    const entries = [...this.#entries].flatMap(([asyncId, { stack, endedAt, request, ...traced }]): TraceEntry[] => {
      const { frames, isAgents } = readStack(stack);
      if (isAgents) return [];
      const known = { ...(endedAt === undefined ? {} : { endedAt }), ...(request === undefined ? {} : { request }) };
      return [{ asyncId, ...traced, ...known, stack: frames }];
    });
    this.#entries.clear();
    return { mode: this.mode, from: this.#from, to: Date.now(), entries, dropped: this.#dropped };
  }
}
