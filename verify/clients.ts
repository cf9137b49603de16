// The users: a bounded number of clients, each with one request at a time on its own seeded sequence of coupons, users and
// pauses. A client that hears 503 or nothing asks again, at the other instance too; winners are asked for again and again,
// and some give their claim back.
// Every request goes into the history.
import { setTimeout as delay } from 'node:timers/promises';
import { Pool } from 'undici';
import { messageOf } from '../platform/errors.js';
import { MOMENTARY_CODES, UNEXPECTED_STATUS } from './answers.js';
import type { ClaimOutcome, History, Receipt, ReturnOutcome, UserOperation } from './history.js';
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
/** Of the turns that end with a receipt: the user gives the claim back. */
const RETURN_SHARE = 0.08;
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

  /** Everybody who has asked asks once more, until the answer is final; first for returns without an answer. */
  async askAllAgain(signal: AbortSignal): Promise<void> {
    const asked = new Map<string, UserOperation>();
    for (const operation of this.#history.operations) {
      if (operation.kind !== 'claim' && operation.kind !== 'return') continue;
      asked.set(`${operation.kind} ${operation.couponId} ${operation.userId}`, operation);
    }
    const all = [...asked.values()];
    await this.#insistAll(
      all.filter((last) => last.kind === 'return' && asksAgain(last.outcome)),
      signal,
    );
    await this.#insistAll(
      all.filter((last) => last.kind === 'claim'),
      signal,
    );
  }

  async #insistAll(waiting: UserOperation[], signal: AbortSignal): Promise<void> {
    await Promise.all(
      Array.from({ length: this.#count }, async () => {
        for (let next = waiting.pop(); next !== undefined && !signal.aborted; next = waiting.pop()) {
          await this.#insist(next, signal);
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
  async #turnTo({ couponId }: PlannedCoupon, userId: string, random: Random, signal: AbortSignal): Promise<void> {
    const outcome = await this.#repeat('claim', couponId, userId, random, signal);
    if (outcome?.result !== 'granted' || random() >= RETURN_SHARE || signal.aborted) return;
    await this.#repeat('return', couponId, userId, random, signal);
  }

  async #repeat(
    kind: UserOperation['kind'],
    couponId: string,
    userId: string,
    random: Random,
    signal: AbortSignal,
  ): Promise<UserOperation['outcome'] | undefined> {
    const attempts = wholeBetween(random, 1, ATTEMPTS_MAX);
    for (let attempt = 1; attempt <= attempts && !signal.aborted; attempt++) {
      if (attempt > 1) await pause(between(random, ...RETRY_MS), signal);
      const outcome = await this.#ask(kind, wholeBetween(random, 0, 1), couponId, userId);
      if (!asksAgain(outcome)) return outcome;
    }
    return undefined;
  }

  async #insist({ kind, couponId, userId }: UserOperation, signal: AbortSignal): Promise<void> {
    const random = randomOf(this.#seed, `${couponId} ${userId}`);
    for (let attempt = 1; attempt <= LAST_ATTEMPTS_MAX && !signal.aborted; attempt++) {
      const outcome = await this.#ask(kind, pick(random, [0, 1]), couponId, userId);
      if (!asksAgain(outcome)) return;
      await pause(LAST_RETRY_MS, signal);
    }
  }

  async #ask(
    kind: UserOperation['kind'],
    index: number,
    couponId: string,
    userId: string,
  ): Promise<UserOperation['outcome']> {
    const [pool, instance] = [this.#http[index], this.#instances[index]];
    if (pool === undefined || instance === undefined) throw new Error(`there is no instance ${index + 1}`);
    const asked = { couponId, userId, instance: instance.number, invokedAt: now() };
    if (kind === 'claim') {
      const outcome = await send(pool, 'POST', `/v1/coupons/${couponId}/claims`, userId, claimOutcome);
      this.#history.record({ kind, ...asked, completedAt: now(), outcome });
      return outcome;
    }
    const outcome = await send(pool, 'DELETE', `/v1/coupons/${couponId}/claims/me`, userId, returnOutcome);
    this.#history.record({ kind, ...asked, completedAt: now(), outcome });
    return outcome;
  }
}

interface Body {
  readonly status?: unknown;
  readonly code?: unknown;
  readonly claimNo?: unknown;
  readonly claimedAt?: unknown;
  readonly returnedAt?: unknown;
}

type Unanswered =
  { readonly result: 'refused'; readonly code: string } | { readonly result: 'unknown'; readonly reason: string };

async function send<T>(
  pool: Pool,
  method: 'POST' | 'DELETE',
  path: string,
  userId: string,
  outcomeOf: (status: number, body: Body) => T | undefined,
): Promise<T | Unanswered> {
  try {
    const response = await pool.request({ method, path, headers: { 'x-user-id': userId } });
    const body = (await response.body.json()) as Body;
    return outcomeOf(response.statusCode, body) ?? refusalOf(response.statusCode, body);
  } catch (error) {
    return { result: 'unknown', reason: `no answer: ${messageOf(error)}` };
  }
}

function claimOutcome(status: number, body: Body): ClaimOutcome | undefined {
  const granted = status === 201 ? 'claimed' : 'already_claimed';
  if ((status !== 200 && status !== 201) || body.status !== granted) return undefined;
  return { result: 'granted', status: granted, receipt: receiptOf(body) };
}

function returnOutcome(status: number, body: Body): ReturnOutcome | undefined {
  if (status !== 200 || body.status !== 'returned') return undefined;
  return { result: 'returned', receipt: receiptOf(body), returnedAt: Date.parse(String(body.returnedAt)) };
}

function receiptOf({ claimNo, claimedAt }: Body): Receipt {
  return { claimNo: Number(claimNo), claimedAt: Date.parse(String(claimedAt)) };
}

function refusalOf(status: number, body: Body): Unanswered {
  if (status >= 400 && status !== 500 && typeof body.code === 'string') {
    const { code } = body;
    return code === 'outcome_unknown' ? { result: 'unknown', reason: code } : { result: 'refused', code };
  }
  return { result: 'unknown', reason: `${UNEXPECTED_STATUS}${status}: ${JSON.stringify(body)}` };
}

/** What a sensible client does after a 503, and when it has heard nothing. */
function asksAgain(outcome: UserOperation['outcome']): boolean {
  return outcome.result === 'unknown' || (outcome.result === 'refused' && MOMENTARY_CODES.has(outcome.code));
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}
