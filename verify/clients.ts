// The users: a bounded number of clients, each with one request at a time on its own seeded sequence of coupons, users and
// pauses. A client that hears 503 or nothing asks again, at the other instance too; winners are asked for again and again.
// Every request goes into the history.
import { setTimeout as delay } from 'node:timers/promises';
import { Pool } from 'undici';
import { messageOf } from '../platform/errors.js';
import { UNEXPECTED_STATUS } from './checks.js';
import type { ClaimOutcome, History } from './history.js';
import { now } from './history.js';
import type { Instance } from './instance.js';
import type { Random } from './random.js';
import { between, pick, randomOf, wholeBetween } from './random.js';
import type { PlannedCoupon } from './workload.js';
import { choose } from './workload.js';

/** Longer than CLAIM_TIMEOUT_MS; shorter than some faults, so that answers come to clients who have gone. */
const REQUEST_TIMEOUT_MS = 4_000;
/** Between two requests of one client. */
const THINK_MS = [15, 90] as const;
/** A client that has no answer yet asks again so often before it turns to something else. */
const ATTEMPTS_MAX = 7;
const RETRY_MS = [50, 600] as const;
/** In the end, when everything works again: so often, so far apart, until the answer is final. */
const LAST_ATTEMPTS_MAX = 20;
const LAST_RETRY_MS = 500;

export class Clients {
  readonly #instances: readonly Instance[];
  readonly #http: readonly Pool[];
  readonly #history: History;
  readonly #seed: number;
  readonly #count: number;

  constructor(options: { instances: readonly Instance[]; history: History; seed: number; count: number }) {
    const { instances, history, seed, count } = options;
    const timeouts = { headersTimeout: REQUEST_TIMEOUT_MS, bodyTimeout: REQUEST_TIMEOUT_MS };
    this.#instances = instances;
    this.#http = instances.map((instance) => new Pool(instance.url, { connections: count, ...timeouts }));
    this.#history = history;
    this.#seed = seed;
    this.#count = count;
  }

  /** Asks until `signal` aborts; resolves when every request is answered. `generations` may grow meanwhile. */
  async run(generations: readonly (readonly PlannedCoupon[])[], signal: AbortSignal): Promise<void> {
    await Promise.all(
      Array.from({ length: this.#count }, (_, client) => {
        return this.#live(randomOf(this.#seed, `client ${client}`), generations, signal);
      }),
    );
  }

  /** Everybody who has asked asks once more, until the answer is final. */
  async askAllAgain(signal: AbortSignal): Promise<void> {
    const asked = new Map<string, [couponId: string, userId: string]>();
    for (const operation of this.#history.operations) {
      if (operation.kind === 'claim') {
        asked.set(`${operation.couponId} ${operation.userId}`, [operation.couponId, operation.userId]);
      }
    }
    const waiting = [...asked.values()];
    await Promise.all(
      Array.from({ length: this.#count }, async () => {
        for (let next = waiting.pop(); next !== undefined && !signal.aborted; next = waiting.pop()) {
          await this.#insist(...next, signal);
        }
      }),
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#http.map((pool) => pool.destroy()));
  }

  async #live(random: Random, generations: readonly (readonly PlannedCoupon[])[], signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#turnTo(...choose(generations, random), random, signal);
      await pause(between(random, ...THINK_MS), signal);
    }
  }

  /** One user's wish, with as many repeats as this client has patience for. */
  async #turnTo(coupon: PlannedCoupon, userId: string, random: Random, signal: AbortSignal): Promise<void> {
    const attempts = wholeBetween(random, 1, ATTEMPTS_MAX);
    for (let attempt = 1; attempt <= attempts && !signal.aborted; attempt++) {
      if (attempt > 1) await pause(between(random, ...RETRY_MS), signal);
      if (!asksAgain(await this.#ask(wholeBetween(random, 0, 1), coupon.couponId, userId))) return;
    }
  }

  async #insist(couponId: string, userId: string, signal: AbortSignal): Promise<void> {
    const random = randomOf(this.#seed, `${couponId} ${userId}`);
    for (let attempt = 1; attempt <= LAST_ATTEMPTS_MAX && !signal.aborted; attempt++) {
      const outcome = await this.#ask(pick(random, [0, 1]), couponId, userId);
      if (!asksAgain(outcome)) return;
      await pause(LAST_RETRY_MS, signal);
    }
  }

  async #ask(index: number, couponId: string, userId: string): Promise<ClaimOutcome> {
    const [pool, instance] = [this.#http[index], this.#instances[index]];
    if (pool === undefined || instance === undefined) throw new Error(`there is no instance ${index + 1}`);
    const invokedAt = now();
    const outcome = await claim(pool, couponId, userId);
    const completedAt = now();
    this.#history.record({
      kind: 'claim',
      couponId,
      userId,
      instance: instance.number,
      invokedAt,
      completedAt,
      outcome,
    });
    return outcome;
  }
}

async function claim(pool: Pool, couponId: string, userId: string): Promise<ClaimOutcome> {
  try {
    const response = await pool.request({
      method: 'POST',
      path: `/v1/coupons/${couponId}/claims`,
      headers: { 'x-user-id': userId },
    });
    const body: unknown = await response.body.json();
    return outcomeOf(response.statusCode, body);
  } catch (error) {
    return { result: 'unknown', reason: `no answer: ${messageOf(error)}` };
  }
}

function outcomeOf(status: number, body: unknown): ClaimOutcome {
  const answer = body as { status?: unknown; code?: unknown; claimNo?: unknown; claimedAt?: unknown };
  const { claimNo, claimedAt, code } = answer;
  const granted = status === 201 ? 'claimed' : 'already_claimed';
  if ((status === 200 || status === 201) && answer.status === granted) {
    return {
      result: 'granted',
      status: granted,
      receipt: { claimNo: Number(claimNo), claimedAt: Date.parse(String(claimedAt)) },
    };
  }
  if (status >= 400 && status !== 500 && typeof code === 'string') {
    return code === 'outcome_unknown' ? { result: 'unknown', reason: code } : { result: 'refused', code };
  }
  return { result: 'unknown', reason: `${UNEXPECTED_STATUS}${status}: ${JSON.stringify(body)}` };
}

/** What a sensible client does after a 503, and when it has heard nothing. */
function asksAgain(outcome: ClaimOutcome): boolean {
  if (outcome.result === 'unknown') return true;
  return (
    outcome.result === 'refused' && ['overloaded', 'fenced', 'ledger_behind', 'unavailable'].includes(outcome.code)
  );
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}
