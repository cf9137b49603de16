// The diagnostics thread's line to the main thread. Every question has a time limit, and at most one of a topic waits in
// the main thread's mailbox, however long its loop is blocked. Remembers the last answer to each.
import type { MessagePort } from 'node:worker_threads';
import type { Answer, Answers, Question, Topic, TraceRequest } from './messages.js';

/** The main thread did not answer in time: its loop is blocked. */
export class MainThreadBlocked extends Error {
  override readonly name = 'MainThreadBlocked';
  /** Ms since the main thread has last answered anything. */
  readonly silentMs: number;

  constructor(silentMs: number) {
    super(`the main thread has not answered for ${silentMs} ms`);
    this.silentMs = silentMs;
  }
}

/** What is known of a topic: fresh, or the last known with the reason why there is nothing newer. */
export interface Known<T> {
  readonly value: T | undefined;
  /** Undefined when the answer is fresh. */
  readonly stale: MainThreadBlocked | undefined;
}

interface UnderWay {
  readonly askedAt: number;
  readonly answer: Promise<unknown>;
  readonly settle: (answer: Answer) => void;
}

export class MainLink {
  readonly #port: MessagePort;
  readonly #underWay = new Map<Topic, UnderWay>();
  readonly #last = new Map<Topic, unknown>();
  #heardAt = Date.now();

  constructor(port: MessagePort) {
    this.#port = port;
    port.on('message', (message: Answer | string) => {
      if (typeof message === 'string') return;
      this.#heardAt = Date.now();
      const { topic } = message;
      if ('value' in message) this.#last.set(topic, message.value);
      this.#underWay.get(topic)?.settle(message);
      this.#underWay.delete(topic);
    });
  }

  /** @throws MainThreadBlocked after `timeoutMs`; Error when the main thread could not say. */
  async ask<T extends Topic>(topic: T, timeoutMs: number, trace?: TraceRequest): Promise<Answers[T]> {
    const { answer } = this.#underWay.get(topic) ?? this.#send(topic, trace);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new MainThreadBlocked(this.silentMs())), timeoutMs);
    });
    try {
      return (await Promise.race([answer, late])) as Answers[T];
    } finally {
      clearTimeout(timer);
    }
  }

  /** Like `ask`, but a blocked main thread is answered for with its last known answer. */
  async askOrLast<T extends Topic>(topic: T, timeoutMs: number): Promise<Known<Answers[T]>> {
    try {
      return { value: await this.ask(topic, timeoutMs), stale: undefined };
    } catch (error) {
      if (!(error instanceof MainThreadBlocked)) throw error;
      return { value: this.#last.get(topic) as Answers[T] | undefined, stale: error };
    }
  }

  /** How long the oldest open question has waited: 0 when none is open. */
  silentMs(): number {
    const oldest = Math.min(...[...this.#underWay.values()].map(({ askedAt }) => askedAt));
    return Number.isFinite(oldest) ? Date.now() - Math.max(oldest, this.#heardAt) : 0;
  }

  #send(topic: Topic, trace?: TraceRequest): UnderWay {
    let settle: (answer: Answer) => void = () => undefined;
    const answer = new Promise<unknown>((resolve, reject) => {
      settle = (heard) => {
        if ('error' in heard) reject(new Error(heard.error));
        else resolve(heard.value);
      };
    });
    // Whoever asked may have given up: an error that comes later concerns nobody.
    answer.catch(() => undefined);
    const underWay: UnderWay = { askedAt: Date.now(), answer, settle };
    this.#underWay.set(topic, underWay);
    this.#port.postMessage({ topic, ...(trace === undefined ? {} : { trace }) } satisfies Question);
    return underWay;
  }
}
