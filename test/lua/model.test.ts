// The scripts against a plain model: random sequences of claims, returns, pauses, windows, stock changes and acknowledgements, with
// every answer compared and every invariant checked after every step.
import fc from 'fast-check';
import { beforeAll, expect, it } from 'vitest';
import { CODE } from '../../lua/codes.js';
import type { Redis } from '../../platform/redis.js';
import { ScriptShard, startScriptRedis } from '../harness/script-shard.js';

const RUNS = 150;
const HOUR_MS = 3_600_000;

let redis: Redis;
beforeAll(async () => {
  ({ redis } = await startScriptRedis({ appendfsync: 'no' }));
});

type Step =
  | { do: 'claim'; users: [number[], number[]] }
  | { do: 'return'; coupon: number; user: number }
  | { do: 'adjust'; coupon: number; delta: number }
  | { do: 'pause'; coupon: number; paused: boolean }
  | { do: 'window'; coupon: number; window: 'before' | 'inside' | 'after' }
  | { do: 'acknowledge'; part: number }
  | { do: 'repeat last change'; coupon: number };

const coupon = fc.integer({ min: 0, max: 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    // Of one coupon, or of both in one call.
    arbitrary: fc
      .tuple(fc.array(fc.nat(11), { maxLength: 8 }), fc.array(fc.nat(11), { maxLength: 8 }))
      .filter((users) => users.flat().length > 0)
      .map((users) => ({ do: 'claim' as const, users })),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('return' as const), coupon, user: fc.nat(11) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('adjust' as const),
      coupon,
      delta: fc.integer({ min: -6, max: 6 }).filter((n) => n !== 0),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pause' as const), coupon, paused: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('window' as const),
      coupon,
      window: fc.constantFrom('before' as const, 'inside' as const, 'after' as const),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('acknowledge' as const), part: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('repeat last change' as const), coupon }) },
);

/** How one coupon should behave, in the simplest words. */
class Model {
  readonly id: string;
  readonly window: number;
  version = 0;
  total = 0;
  paused = false;
  opensAt: number | undefined;
  closesAt: number | undefined;
  ceiling: number;
  outcome = 0;
  readonly receipts = new Map<string, number>();
  readonly returned = new Set<string>();
  /** Users by claim number, as the ledger would have them. */
  readonly ledger = new Map<number, string>();
  /** Numbers, as the ledger would have them marked. */
  readonly marked = new Set<number>();

  constructor(id: string, window: number) {
    this.id = id;
    this.window = window;
    this.ceiling = window;
  }

  get remaining(): number {
    return this.total - this.receipts.size + this.marked.size;
  }

  claim(user: string): { code: number; no: number } {
    const no = this.receipts.get(user);
    if (no !== undefined) return { code: this.returned.has(user) ? CODE.RETURNED : CODE.ALREADY_CLAIMED, no };
    const now = Date.now();
    if (this.closesAt !== undefined && now >= this.closesAt) return { code: CODE.ENDED, no: 0 };
    if (this.paused) return { code: CODE.PAUSED, no: 0 };
    if (this.opensAt !== undefined && now < this.opensAt) return { code: CODE.NOT_OPEN, no: 0 };
    if (this.receipts.size >= this.ceiling) return { code: CODE.LEDGER_BEHIND, no: 0 };
    if (this.remaining === 0) {
      const comingBack = this.returned.size > this.marked.size;
      return { code: comingBack ? CODE.LEDGER_BEHIND : CODE.SOLD_OUT, no: 0 };
    }
    this.receipts.set(user, this.receipts.size + 1);
    return { code: CODE.CLAIMED, no: this.receipts.size };
  }

  return(user: string): unknown[] {
    const no = this.receipts.get(user);
    if (no === undefined) return [CODE.NOT_CLAIMED];
    this.returned.add(user);
    return [CODE.FOUND, no];
  }

  adjust(delta: number): void {
    this.version++;
    this.outcome = this.remaining + delta < 0 ? CODE.BELOW_CLAIMED : 0;
    if (this.outcome === 0) this.total += delta;
  }

  change(delta = 0) {
    const { version, paused, opensAt, closesAt } = this;
    return { version, delta, paused, ceiling: this.window, ...(opensAt && { opensAt }), ...(closesAt && { closesAt }) };
  }
}

it('answers as the model does and keeps every invariant after every step', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 30 }),
      fc.integer({ min: 0, max: 8 }),
      fc.integer({ min: 1, max: 10 }),
      async (steps, total, window) => {
        await redis.flushall();
        const shard = new ScriptShard(redis);
        await shard.openEmpty();
        const models = [new Model('sale', window), new Model('SALE', window)];
        const lastDelta = new Map<Model, number>();
        for (const model of models) await changeStock(shard, model, total, lastDelta);
        for (const one of steps) {
          await perform(shard, models, one, lastDelta);
          for (const model of models) await checkInvariants(shard, model);
        }
      },
    ),
    { numRuns: RUNS },
  );
});

async function changeStock(
  shard: ScriptShard,
  model: Model,
  delta: number,
  lastDelta: Map<Model, number>,
): Promise<void> {
  model.adjust(delta);
  lastDelta.set(model, delta);
  expect(await shard.change(model.id, model.change(delta))).toEqual([model.outcome, model.total, model.remaining]);
}

async function perform(shard: ScriptShard, models: Model[], one: Step, lastDelta: Map<Model, number>): Promise<void> {
  if (one.do === 'acknowledge') {
    await acknowledgeSome(shard, models, one.part);
    return;
  }
  if (one.do === 'claim') {
    await claimSome(shard, models, one.users);
    return;
  }
  const model = models[one.coupon];
  if (model === undefined) throw new Error('no such model');
  switch (one.do) {
    case 'return': {
      const user = `user-${one.user}`;
      const expected = model.return(user);
      const answer = await shard.returnClaim(model.id, user);
      expect(answer.slice(0, 2)).toEqual(expected);
      // A repeat is answered with the very same.
      expect(await shard.returnClaim(model.id, user)).toEqual(answer);
      return;
    }
    case 'adjust': {
      await changeStock(shard, model, one.delta, lastDelta);
      return;
    }
    case 'pause':
      model.paused = one.paused;
      {
        await changeStock(shard, model, 0, lastDelta);
        return;
      }
    case 'window':
      model.opensAt = one.window === 'before' ? Date.now() + HOUR_MS : undefined;
      model.closesAt = one.window === 'after' ? Date.now() - HOUR_MS : undefined;
      {
        await changeStock(shard, model, 0, lastDelta);
        return;
      }
    case 'repeat last change':
      expect(await shard.change(model.id, model.change(lastDelta.get(model)))).toEqual([
        model.outcome,
        model.total,
        model.remaining,
      ]);
  }
}

async function claimSome(shard: ScriptShard, models: Model[], users: readonly number[][]): Promise<void> {
  const groups = models
    .map((model, i) => ({ model, users: (users[i] ?? []).map((n) => `user-${n}`) }))
    .filter((group) => group.users.length > 0);
  const expected = groups.flatMap((group) => group.users.map((user) => group.model.claim(user)));
  const before = await shard.redis.xlen(shard.outboxKey);
  const answers = await shard.claimBatch(groups.map((group) => [group.model.id, group.users]));
  expect(answers).toMatchObject(expected);
  const granted = expected.some(({ code }) => code === CODE.CLAIMED);
  expect(await shard.redis.xlen(shard.outboxKey)).toBe(before + (granted ? 1 : 0));
}

/** The ledger takes the first 1/part of the outbox, as it would after a commit. */
async function acknowledgeSome(shard: ScriptShard, models: Model[], part: number): Promise<void> {
  const entries = await shard.outbox();
  const allIds = new Set(entries.map(({ id }) => id));
  const takenIds = new Set([...allIds].slice(0, Math.ceil(allIds.size / part)));
  const taken = entries.filter(({ id }) => takenIds.has(id));
  const ids = new Set<string>();
  const progress: Record<string, { ceiling: number; returns: string[] }> = {};
  for (const entry of taken) {
    const model = models.find(({ id }) => id === entry.couponId);
    const own = (progress[entry.couponId] ??= { ceiling: 0, returns: [] });
    if (entry.kind === 'return') own.returns.push(entry.id);
    else ids.add(entry.id);
    if (entry.kind === 'change' || model === undefined) continue;
    if (entry.kind === 'return') {
      expect(model.ledger.get(entry.claimNo)).toBe(entry.userId);
      expect(model.marked.has(entry.claimNo)).toBe(false);
      model.marked.add(entry.claimNo);
      continue;
    }
    expect(model.ledger.has(entry.claimNo)).toBe(false);
    model.ledger.set(entry.claimNo, entry.userId);
    model.ceiling = Math.max(model.ceiling, entry.claimNo + model.window);
    own.ceiling = model.ceiling;
  }
  await shard.readOutbox();
  expect(await shard.acknowledge([...ids], progress)).toBe(takenIds.size);
}

async function checkInvariants(shard: ScriptShard, model: Model): Promise<void> {
  const [, , total = 0, remaining = 0, highest = 0, , , , , returned = 0, returning = 0] = await shard.view(model.id);
  expect({ total, remaining, highest, returned, returning }).toEqual({
    total: model.total,
    remaining: model.remaining,
    highest: model.receipts.size,
    returned: model.returned.size,
    returning: model.returned.size - model.marked.size,
  });
  // I1, I5
  expect(highest - returned).toBeLessThanOrEqual(total);
  expect(remaining + highest - returned + returning).toBe(total);
  // I2, I3, I4: the ledger and the outbox together hold each number 1 … highest once, each for the user with that receipt.
  const entries = (await shard.outbox()).filter((entry) => entry.couponId === model.id);
  const users = new Map(model.ledger);
  const marked = new Set(model.marked);
  for (const entry of entries) {
    if (entry.kind === 'change') continue;
    if (entry.kind === 'return') {
      expect(marked.has(entry.claimNo)).toBe(false);
      marked.add(entry.claimNo);
    } else {
      expect(users.has(entry.claimNo)).toBe(false);
      users.set(entry.claimNo, entry.userId);
    }
  }
  expect(new Map([...users].map(([no, user]) => [user, no]))).toEqual(model.receipts);
  expect(users.size).toBe(highest);
  expect(marked).toEqual(new Set([...model.returned].map((user) => model.receipts.get(user))));
}
