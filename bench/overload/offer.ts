// The load generator of the overload proof, a process of its own. It offers requests at a rate of its own, as a crowd does: whoever
// is late does not keep others from coming. Counts what is answered when, and how long it took. Loopback only.
import { once } from 'node:events';
import { Client } from 'undici';
import { sendClaim } from '../claim-request.js';
import { percentileOf } from '../statistics.js';
import type { Answers, Offer, Outcome } from './offer-job.js';

/** Well beyond the time in which the service answers every claim. */
const REQUEST_TIMEOUT_MS = 20_000;
const TICK_MS = 2;

process.on('disconnect', () => process.exit());

class Crowd {
  readonly #offer: Offer;
  readonly #idle: Client[] = [];
  readonly #clients: Client[] = [];
  readonly #served: number[] = [];
  readonly #refused: number[] = [];
  readonly #answers: Record<string, number> = {};
  #sent = 0;
  #sentCounted = 0;
  #unanswered = 0;
  #countFrom = 0;
  #ended = false;

  constructor(offer: Offer) {
    this.#offer = offer;
  }

  async run(): Promise<Outcome> {
    const { perSecond, connectionsMax, warmUpMs, countedMs } = this.#offer;
    const startedAt = performance.now();
    this.#countFrom = startedAt + warmUpMs;
    const endsAt = this.#countFrom + countedMs;
    if (perSecond === undefined) for (let i = 0; i < connectionsMax; i++) this.#send();
    let due = 0;
    for (let now = startedAt; now < endsAt; now = performance.now()) {
      if (perSecond !== undefined) {
        const dueNow = Math.floor(((now - startedAt) / 1_000) * perSecond);
        for (; due < dueNow; due++) this.#send();
      }
      await new Promise((resolve) => setTimeout(resolve, TICK_MS));
    }
    this.#ended = true;
    const seconds = countedMs / 1_000;
    const outcome: Outcome = {
      sentPerSecond: this.#sentCounted / seconds,
      answers: this.#answers,
      unanswered: this.#unanswered,
      served: summary(this.#served, seconds),
      refused: summary(this.#refused, seconds),
    };
    await Promise.all(this.#clients.map((client) => client.destroy()));
    return outcome;
  }

  /** On the connection that was busy last, so that those which are not needed rest. */
  #send(): void {
    const client = this.#idle.pop() ?? this.#open();
    if (client === undefined) return;
    const userId = `${this.#offer.userPrefix}${this.#sent++}`;
    const askedAt = performance.now();
    if (askedAt >= this.#countFrom) this.#sentCounted++;
    sendClaim(client, this.#offer.couponId, userId, (answer) => this.#answered(client, answer, askedAt));
  }

  #answered(client: Client, answer: string | undefined, askedAt: number): void {
    const now = performance.now();
    if (this.#ended) return;
    if (now >= this.#countFrom) {
      if (answer === undefined) this.#unanswered++;
      else {
        (answer.startsWith('5') ? this.#refused : this.#served).push(now - askedAt);
        this.#answers[answer] = (this.#answers[answer] ?? 0) + 1;
      }
    }
    this.#idle.push(client);
    if (this.#offer.perSecond === undefined) this.#send();
  }

  #open(): Client | undefined {
    if (this.#clients.length >= this.#offer.connectionsMax) return undefined;
    const options = { pipelining: 1, headersTimeout: REQUEST_TIMEOUT_MS, bodyTimeout: REQUEST_TIMEOUT_MS };
    const client = new Client(this.#offer.url, options);
    this.#clients.push(client);
    return client;
  }
}

function summary(latencies: number[], seconds: number): Answers {
  const sorted = Float64Array.from(latencies).sort();
  const at = (share: number): number => (sorted.length === 0 ? 0 : percentileOf(sorted, share));
  return { perSecond: sorted.length / seconds, latencyMs: { p50: at(0.5), p99: at(0.99) } };
}

for (;;) {
  const [offer] = (await once(process, 'message')) as [Offer];
  process.send?.(await new Crowd(offer).run());
}
