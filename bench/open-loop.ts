// The open-loop load generator, a process of its own: requests fall due at a fixed rate, whatever became of those before.
// Loopback only; bounded in time, connections and requests.
//
// It corrects for coordinated omission. A generator that waits for an answer before it asks again sends little while the
// server is slow, and so leaves out the very latencies that users would have met. Here each request has a moment at which it
// is due, fixed beforehand, and its latency counts from there, not from when it was sent: a request that had to wait for a
// connection, or for the generator, has waited like a user. Every request that was due in the counted time counts, however
// late it was sent or answered. What the generator itself was late is reported (`lagMs`): where that is much, the machine had
// no time for the generator, and the figures say little about the server.
import { once } from 'node:events';
import { Client } from 'undici';
import { openConnection, sendClaim } from './claim-request.js';
import type { OpenLoopOffer, OpenLoopOutcome, Percentiles } from './open-loop-job.js';
import { percentileOf } from './statistics.js';

/** Well beyond the time in which the service answers every claim. */
const REQUEST_TIMEOUT_MS = 40_000;
/** After the last request was due, for those that still wait for a connection. */
const DRAIN_MAX_MS = 60_000;
/** As fine as timers are. */
const TICK_MS = 1;

process.on('disconnect', () => process.exit());

class OpenLoop {
  readonly #offer: OpenLoopOffer;
  readonly #clients: readonly Client[];
  readonly #idle: Client[];
  /** Moments at which requests were due, in order; those from `#sent` on wait for a connection. */
  readonly #due: number[] = [];
  readonly #accepted: number[] = [];
  readonly #lags: number[] = [];
  readonly #answers: Record<string, number> = {};
  #sent = 0;
  #countFrom = 0;
  #ended = false;

  constructor(offer: OpenLoopOffer) {
    const options = { pipelining: 1, headersTimeout: REQUEST_TIMEOUT_MS, bodyTimeout: REQUEST_TIMEOUT_MS };
    this.#offer = offer;
    this.#clients = Array.from({ length: offer.connections }, () => new Client(offer.url, options));
    this.#idle = [...this.#clients];
  }

  async run(): Promise<OpenLoopOutcome> {
    const { perSecond, warmUpMs, countedMs } = this.#offer;
    await Promise.all(this.#clients.map(openConnection));
    const startedAt = performance.now();
    this.#countFrom = startedAt + warmUpMs;
    const total = Math.floor(((warmUpMs + countedMs) / 1_000) * perSecond);
    while (this.#due.length < total) {
      const now = performance.now();
      for (
        let dueAt;
        (dueAt = startedAt + (this.#due.length / perSecond) * 1_000) <= now && this.#due.length < total;
      ) {
        if (dueAt >= this.#countFrom) this.#lags.push(now - dueAt);
        this.#due.push(dueAt);
      }
      this.#sendDue();
      await tick();
    }
    const deadline = performance.now() + DRAIN_MAX_MS;
    while (this.#idle.length < this.#clients.length && performance.now() < deadline) await tick();
    this.#ended = true;
    await Promise.all(this.#clients.map((client) => client.destroy()));
    const counted = Object.values(this.#answers).reduce((sum, count) => sum + count, 0);
    return {
      due: this.#lags.length,
      answers: this.#answers,
      unanswered: this.#lags.length - counted,
      acceptedMs: percentiles(this.#accepted),
      lagMs: percentiles(this.#lags),
    };
  }

  /**
   * On the connections in turn. One that rests is closed after some seconds, by either side: hundreds of them at once, in the middle
   * of what is counted, were the slowest hundredth of all answers.
   */
  #sendDue(): void {
    while (this.#sent < this.#due.length && !this.#ended) {
      const client = this.#idle.shift();
      if (client === undefined) return;
      this.#send(client, this.#sent++);
    }
  }

  #send(client: Client, number: number): void {
    const { couponId, userPrefix } = this.#offer;
    const dueAt = this.#due[number] ?? 0;
    sendClaim(client, couponId, `${userPrefix}${number}`, (answer) => {
      this.#idle.push(client);
      if (dueAt >= this.#countFrom && answer !== undefined) {
        this.#answers[answer] = (this.#answers[answer] ?? 0) + 1;
        if (answer.startsWith('201 ')) this.#accepted.push(performance.now() - dueAt);
      }
      this.#sendDue();
    });
  }
}

function tick(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, TICK_MS));
}

function percentiles(values: readonly number[]): Percentiles {
  const sorted = Float64Array.from(values).sort();
  const at = (share: number): number => (sorted.length === 0 ? 0 : percentileOf(sorted, share));
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999) };
}

for (;;) {
  const [offer] = (await once(process, 'message')) as [OpenLoopOffer];
  process.send?.(await new OpenLoop(offer).run());
}
