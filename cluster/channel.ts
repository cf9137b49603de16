// One end of the typed line between the primary and a worker: notices, and requests with an id and a time limit.
// It knows messages, not processes: whoever owns the process passes in how to send and feeds in what arrives.
// A request settles exactly once: with its answer, at its time limit, or when the line closes. An answer that comes after
// that finds no request with its id and is dropped.
import { StampedeError, messageOf } from '../platform/errors.js';
import type { Log } from '../platform/log.js';
import { fitText, parseAnswer, parseMessage } from './messages.js';
import type { Answers, Message, MessageOf, Method, Notice } from './messages.js';

export const REQUEST_TIMEOUT_MS = 2_000;
/** Requests that may wait for an answer on one line; more are refused at once. */
const REQUESTS_WAITING_MAX = 1_000;

export interface ChannelOptions {
  /** Who is at the other end, for errors and logs. */
  readonly peer: string;
  readonly send: (message: Message) => void;
  /** Notices that this end takes; all others are dropped with a warning. */
  readonly notices: { readonly [K in Notice['kind']]?: (message: MessageOf<K>) => void };
  /** Requests that this end answers. */
  readonly answers?: { readonly [M in Method]?: () => Answers[M] | Promise<Answers[M]> };
  readonly log: Log;
  readonly requestTimeoutMs?: number;
}

interface Waiting {
  readonly method: Method;
  readonly resolve: (answer: never) => void;
  readonly reject: (error: StampedeError) => void;
  readonly timer: NodeJS.Timeout;
}

export class Channel {
  readonly #options: ChannelOptions;
  readonly #waiting = new Map<number, Waiting>();
  readonly #requestTimeoutMs: number;
  #nextId = 1;
  #closed = false;

  constructor(options: ChannelOptions) {
    this.#options = options;
    this.#requestTimeoutMs = options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
  }

  /** Sends and forgets. After `close()` it does nothing. */
  notify(notice: Notice): void {
    if (!this.#closed) this.#options.send(notice);
  }

  /**
   * Asks the other end, and waits `limitMs` at the most. Rejects with `unavailable` (`extra.cause`: `timeout`, `closed`, `failed` or `malformed`) or, when
   * too many requests are waiting already, with `overloaded`.
   */
  request<M extends Method>(method: M, limitMs = this.#requestTimeoutMs): Promise<Answers[M]> {
    return new Promise<Answers[M]>((resolve, reject) => {
      if (this.#closed) {
        reject(this.#unavailable('closed', `the line to ${this.#options.peer} is closed`));
        return;
      }
      if (this.#waiting.size >= REQUESTS_WAITING_MAX) {
        reject(
          new StampedeError('overloaded', `${REQUESTS_WAITING_MAX} requests to ${this.#options.peer} are waiting`),
        );
        return;
      }
      const id = this.#nextId++;
      const timer = setTimeout(() => {
        const text = `${this.#options.peer} did not answer "${method}" within ${limitMs} ms`;
        this.#take(id)?.reject(this.#unavailable('timeout', text));
      }, limitMs);
      this.#waiting.set(id, { method, resolve, reject, timer });
      this.#options.send({ kind: 'request', id, method });
    });
  }

  /** Takes anything that arrived from the other end. Never throws on what it says. */
  receive(raw: unknown): void {
    const message = parseMessage(raw);
    if (message === undefined) {
      this.#options.log.warn({ peer: this.#options.peer }, 'dropped a message of unknown shape');
      return;
    }
    switch (message.kind) {
      case 'request':
        this.#answer(message);
        return;
      case 'reply': {
        const waiting = this.#take(message.id);
        if (waiting === undefined) return;
        const answer = parseAnswer(waiting.method, message.result);
        if (answer === undefined)
          waiting.reject(this.#unavailable('malformed', `malformed answer to ${waiting.method}`));
        else waiting.resolve(answer as never);
        return;
      }
      case 'failure':
        this.#take(message.id)?.reject(this.#unavailable('failed', message.message));
        return;
      default:
        this.#deliver(message);
    }
  }

  /** The line is gone: whoever waits for an answer is told so. */
  close(): void {
    this.#closed = true;
    for (const id of this.#waiting.keys()) {
      this.#take(id)?.reject(this.#unavailable('closed', `the line to ${this.#options.peer} closed`));
    }
  }

  #deliver(notice: Notice): void {
    const deliver = this.#options.notices[notice.kind] as ((message: Notice) => void) | undefined;
    if (deliver !== undefined) deliver(notice);
    else this.#options.log.warn({ peer: this.#options.peer, kind: notice.kind }, 'dropped a message for the other end');
  }

  #answer(request: MessageOf<'request'>): void {
    const { id, method } = request;
    const reply = (message: Message): void => {
      if (!this.#closed) this.#options.send(message);
    };
    Promise.resolve()
      .then(() => {
        const answer = this.#options.answers?.[method];
        if (answer === undefined) throw new Error(`nobody here answers "${method}"`);
        return answer();
      })
      .then(
        (result) => reply({ kind: 'reply', id, result }),
        (error: unknown) => reply({ kind: 'failure', id, message: fitText(messageOf(error)) }),
      );
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return undefined;
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    return waiting;
  }

  #unavailable(cause: string, detail: string): StampedeError {
    return new StampedeError('unavailable', detail, { cause });
  }
}
