// How long this process takes to hear what has come: a busy event loop reads a reply long after it arrived, and that says nothing
// about whoever sent it. A message to itself goes the same way as a reply, through the loop's polling, and needs no time of its
// own. (A timer would not do: under a flood of requests Node polls for seconds before it looks at its timers again.)
import { MessageChannel } from 'node:worker_threads';

/** What a look costs, some 5 µs, is nothing then. */
const LOOK_EVERY_MS = 10;

export class HearingDelay {
  readonly #channel = new MessageChannel();
  #sentAt = -Infinity;
  #waiting = false;
  #lastMs = 0;

  constructor() {
    this.#channel.port2.on('message', () => {
      this.#waiting = false;
      this.#lastMs = performance.now() - this.#sentAt;
    });
    // Listening has made it hold the process.
    this.#channel.port2.unref();
  }

  /** As of the latest looks. */
  get ms(): number {
    return this.#waiting ? Math.max(this.#lastMs, performance.now() - this.#sentAt) : this.#lastMs;
  }

  /** To be called whenever something is sent whose reply is timed. */
  look(): void {
    const now = performance.now();
    if (this.#waiting || now - this.#sentAt < LOOK_EVERY_MS) return;
    this.#waiting = true;
    this.#sentAt = now;
    this.#channel.port1.postMessage(undefined);
  }

  stop(): void {
    this.#channel.port1.close();
  }
}
