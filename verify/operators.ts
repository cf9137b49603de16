// The operators: one makes the coupons of each generation and pauses and resumes them, two others change stock up and down,
// all at once and at either instance. What has no answer is repeated, stock changes with their idempotency key. Every
// request goes into the history.
import { setTimeout as delay } from 'node:timers/promises';
import type { Ack } from '../coupons/definition.js';
import type { CreateOperation, History, StockOperation } from './history.js';
import { now } from './history.js';
import type { Instance } from './instance.js';
import type { Random } from './random.js';
import { between, pick, randomOf, wholeBetween } from './random.js';
import type { PlannedCoupon } from './workload.js';
import { generation, GENERATION_MS } from './workload.js';

const REQUEST_TIMEOUT_MS = 8_000;
const RETRY_MS = 250;
/** In the end, when everything works again: a change that has still no answer after so many repeats stays unknown. */
const LAST_ATTEMPTS_MAX = 40;
const STOCK_OPERATORS = 2;
const STOCK_INTERVAL_MS = [150, 900] as const;
const SWITCH_INTERVAL_MS = [500, 3_000] as const;
const PAUSED_MS = [100, 1_500] as const;
const DELTA_MAX = 40;

interface Answer {
  /** Such as `200` or `503 fenced` or `no answer`. */
  readonly text: string;
  readonly ok: boolean;
}

export class Operators {
  /** Coupons that exist for the clients, by generation. */
  readonly generations: PlannedCoupon[][] = [];
  readonly #instances: readonly Instance[];
  readonly #history: History;
  readonly #seed: number;
  readonly #ack: Ack;
  readonly #paused = new Set<string>();
  readonly #openStock = new Map<string, { couponId: string; key: string; delta: number }>();

  constructor(options: { instances: readonly Instance[]; history: History; seed: number; ack: Ack }) {
    this.#instances = options.instances;
    this.#history = options.history;
    this.#seed = options.seed;
    this.#ack = options.ack;
  }

  /** Makes the first coupons; the load may begin when this resolves. */
  async begin(signal: AbortSignal): Promise<void> {
    await this.#makeGeneration(randomOf(this.#seed, 'generations'), signal);
  }

  /** Works until `signal` aborts; resolves when every request is answered. */
  async run(signal: AbortSignal): Promise<void> {
    const changers = Array.from({ length: STOCK_OPERATORS }, (_, operator) =>
      this.#changeStock(operator, randomOf(this.#seed, `stock ${operator}`), signal),
    );
    await Promise.all([
      this.#makeGenerations(randomOf(this.#seed, 'later generations'), signal),
      this.#pauseAndResume(randomOf(this.#seed, 'switches'), signal),
      ...changers,
    ]);
  }

  /** Resumes what is paused and repeats what has no answer yet, when everything works again. */
  async finish(signal: AbortSignal): Promise<void> {
    const random = randomOf(this.#seed, 'finish');
    for (const couponId of this.#paused) {
      await this.#insist(LAST_ATTEMPTS_MAX, signal, () => this.#switch('resume', couponId, random));
    }
    for (const { couponId, key, delta } of [...this.#openStock.values()]) {
      await this.#insist(LAST_ATTEMPTS_MAX, signal, async () => {
        return (await this.#adjust(couponId, key, delta, random)) !== 'unknown';
      });
    }
  }

  /** Gives up the numbers that nobody can tell of, coupon by coupon. */
  async release(couponIds: readonly string[], signal: AbortSignal): Promise<void> {
    const random = randomOf(this.#seed, 'release');
    for (const couponId of couponIds) {
      await this.#insist(LAST_ATTEMPTS_MAX, signal, async () => {
        return (await this.#post(random, `/v1/coupons/${couponId}/release`)).ok;
      });
    }
  }

  async #makeGenerations(random: Random, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await pause(GENERATION_MS, signal);
      await this.#makeGeneration(random, signal);
    }
  }

  async #makeGeneration(random: Random, signal: AbortSignal): Promise<void> {
    const coupons = generation(this.generations.length + 1, random);
    for (const coupon of coupons) {
      const [opensAt, closesAt] = [coupon.opensAfterMs, coupon.closesAfterMs].map((afterMs) =>
        afterMs === null ? null : Math.round(now() + afterMs),
      ) as [number | null, number | null];
      const done = await this.#insist(Infinity, signal, () => this.#create(coupon, opensAt, closesAt, random));
      if (!done) return;
    }
    this.generations.push(coupons);
  }

  async #pauseAndResume(random: Random, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await pause(between(random, ...SWITCH_INTERVAL_MS), signal);
      const { couponId } = pick(random, this.generations.at(-1) ?? []);
      this.#paused.add(couponId);
      await this.#insist(Infinity, signal, () => this.#switch('pause', couponId, random));
      await pause(between(random, ...PAUSED_MS), signal);
      const resumed = await this.#insist(Infinity, signal, () => this.#switch('resume', couponId, random));
      if (resumed) this.#paused.delete(couponId);
    }
  }

  async #changeStock(operator: number, random: Random, signal: AbortSignal): Promise<void> {
    for (let change = 1; !signal.aborted; change++) {
      await pause(between(random, ...STOCK_INTERVAL_MS), signal);
      const { couponId } = pick(random, this.generations.at(-1) ?? []);
      const delta = wholeBetween(random, 1, DELTA_MAX) * (random() < 0.5 ? 1 : -1);
      const key = `operator-${operator}-change-${change}`;
      const repeats = wholeBetween(random, 1, 3);
      // Whether it was answered or not: repeating it must never apply it twice.
      for (let attempt = 1; attempt <= repeats; attempt++) await this.#adjust(couponId, key, delta, random);
    }
  }

  async #create(coupon: PlannedCoupon, opensAt: number | null, closesAt: number | null, random: Random) {
    const { couponId, total, returnable } = coupon;
    const window = {
      ...(opensAt !== null && { opensAt: new Date(opensAt).toISOString() }),
      ...(closesAt !== null && { closesAt: new Date(closesAt).toISOString() }),
    };
    const invokedAt = now();
    const answer = await this.#post(random, '/v1/coupons', { couponId, total, returnable, ack: this.#ack, ...window });
    const outcome: CreateOperation['outcome'] = answer.ok ? 'done' : 'unknown';
    const asked = { couponId, total, returnable, opensAt, closesAt, invokedAt, completedAt: now() };
    this.#history.record({ kind: 'create', ...asked, outcome, answer: answer.text });
    return answer.ok;
  }

  async #switch(kind: 'pause' | 'resume', couponId: string, random: Random): Promise<boolean> {
    const invokedAt = now();
    const answer = await this.#post(random, `/v1/coupons/${couponId}/${kind}`);
    const outcome = answer.ok ? 'done' : 'unknown';
    this.#history.record({ kind, couponId, invokedAt, completedAt: now(), outcome, answer: answer.text });
    return answer.ok;
  }

  async #adjust(couponId: string, key: string, delta: number, random: Random): Promise<StockOperation['outcome']> {
    const invokedAt = now();
    const path = `/v1/coupons/${couponId}/stock`;
    const answer = await this.#post(random, path, { delta, reason: 'verify' }, { 'idempotency-key': key });
    let outcome: StockOperation['outcome'] = answer.ok ? 'applied' : 'unknown';
    if (answer.text === '409 below_claimed') outcome = 'below_claimed';
    this.#history.record({
      kind: 'stock',
      ...{ couponId, key, delta, invokedAt, completedAt: now(), outcome, answer: answer.text },
    });
    if (outcome === 'unknown') this.#openStock.set(key, { couponId, key, delta });
    else this.#openStock.delete(key);
    return outcome;
  }

  /** True when `attempt` has succeeded; false when the attempts are used up or the run ends. */
  async #insist(attempts: number, signal: AbortSignal, attempt: () => Promise<boolean>): Promise<boolean> {
    for (let done = 0; done < attempts && !signal.aborted; done++) {
      if (await attempt()) return true;
      await pause(RETRY_MS, signal);
    }
    return false;
  }

  async #post(random: Random, path: string, body?: object, headers: Record<string, string> = {}): Promise<Answer> {
    const instance = pick(random, this.#instances);
    try {
      const response = await fetch(`${instance.adminUrl}${path}`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${instance.adminToken}`,
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      const { code } = (await response.json()) as { code?: string };
      return { text: `${response.status}${code === undefined ? '' : ` ${code}`}`, ok: response.ok };
    } catch {
      return { text: 'no answer', ok: false };
    }
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}
