// Measures lua/claim.lua alone: what one claim costs redis-server, for batches of several sizes, on a private Redis with
// nobody else. The same number of claims waits at any time, sent in smaller or larger batches.
import { encodeClaims } from '../cluster/claims/claim-call.js';
import { PendingClaim } from '../cluster/claims/mailbox.js';
import { couponKeys, fenceKey, LEDGER_GROUP, outboxKey } from '../coupons/keys.js';
import { CODE } from '../lua/codes.js';
import type { Scripts } from '../lua/scripts.js';
import { loadScripts, runScript } from '../lua/scripts.js';
import type { Redis } from '../platform/redis.js';
import { connectRedis, whenRedisReady } from '../platform/redis.js';
import { redisCpuMicros } from './cpu.js';
import type { PartContext } from './part.js';
import { startPrivateRedis } from './private-servers.js';
import type { Spread } from './statistics.js';
import { spreadOf } from './statistics.js';

export const BATCH_SIZES = [1, 16, 128, 512] as const;
/** Waiting at any time: two of the largest batches, as many as the service has in flight. */
const CLAIMS_IN_FLIGHT = 1_024;
const COMMAND_TIMEOUT_MS = 60_000;
const READY_TIMEOUT_MS = 10_000;

/** `always` is how the embedded Redis runs; `none` is the script's own price. */
const PERSISTENCE = ['none', 'always'] as const;
type Persistence = (typeof PERSISTENCE)[number];

const OUTCOMES = ['claimed', 'already_claimed', 'sold_out'] as const;
type Outcome = (typeof OUTCOMES)[number];
const CODES: Readonly<Record<Outcome, number>> = {
  claimed: CODE.CLAIMED,
  already_claimed: CODE.ALREADY_CLAIMED,
  sold_out: CODE.SOLD_OUT,
};

/** Nobody raises it here. */
const CEILING = 10_000_000;
export const SHARD = 0;
export const EPOCH = 1;
const TOKEN = 'bench';

export interface ScriptResult {
  /** `appendfsync`, or `none` for a Redis that writes nothing to disk. */
  readonly persistence: Persistence;
  readonly batchSize: number;
  readonly outcome: Outcome;
  /** Of one round. */
  readonly claims: number;
  readonly redisCpuMicrosPerClaim: Spread;
}

/** Interleaves the batch sizes: 1, 16, 128, 512, 1, 16, … Stops its servers whatever happens. */
export async function measureScripts(options: PartContext): Promise<ScriptResult[]> {
  const results: ScriptResult[] = [];
  for (const persistence of PERSISTENCE) {
    results.push(...(await onPrivateRedis(persistence, options, (redis) => measureOn(redis, persistence, options))));
  }
  return results;
}

async function onPrivateRedis<T>(
  persistence: Persistence,
  context: PartContext,
  work: (redis: Redis) => Promise<T>,
): Promise<T> {
  const server = await startPrivateRedis({ persistence: persistence === 'always' }, context);
  const redis = connectRedis(server.url, { kind: 'request', commandTimeoutMs: COMMAND_TIMEOUT_MS }, context.log);
  try {
    await whenRedisReady(redis, READY_TIMEOUT_MS);
    return await work(redis);
  } finally {
    redis.disconnect();
    await server.stop();
  }
}

async function measureOn(
  redis: Redis,
  persistence: Persistence,
  { rounds, requests, report, signal }: PartContext,
): Promise<ScriptResult[]> {
  const scripts = loadScripts();
  const measured = BATCH_SIZES.flatMap((batchSize) =>
    OUTCOMES.map((outcome) => ({ batchSize, outcome, micros: [] as number[] })),
  );
  // Round 0 warms up and counts for nothing.
  for (let round = 0; round <= rounds; round++) {
    report(`Script alone, persistence ${persistence}: ${round === 0 ? 'warming up' : `round ${round} of ${rounds}`}`);
    for (const batchSize of BATCH_SIZES) {
      await openShard(redis, scripts, requests);
      for (const outcome of OUTCOMES) {
        signal.throwIfAborted();
        const micros = await measure(redis, scripts, outcome, batchSize, requests);
        const same = measured.find((entry) => entry.batchSize === batchSize && entry.outcome === outcome);
        if (round > 0) same?.micros.push(micros);
      }
    }
  }
  return measured.map(({ batchSize, outcome, micros }) => ({
    persistence,
    batchSize,
    outcome,
    claims: requests,
    redisCpuMicrosPerClaim: spreadOf(micros),
  }));
}

/** An empty Redis with one open shard and two coupons: `sale` for everybody, and `gone` for the one who has it. */
export async function openShard(redis: Redis, scripts: Scripts, total: number): Promise<void> {
  await redis.flushall('SYNC');
  await runScript(redis, scripts.rebuild_begin, [fenceKey(SHARD), outboxKey(SHARD)], [EPOCH, TOKEN, LEDGER_GROUP]);
  await runScript(redis, scripts.rebuild_open, [fenceKey(SHARD), outboxKey(SHARD)], [EPOCH, TOKEN, 0, 0]);
  await createCoupon(redis, scripts, 'sale', total);
  await createCoupon(redis, scripts, 'gone', 1);
  await claim(redis, scripts, 'gone', ['winner']);
}

async function createCoupon(redis: Redis, scripts: Scripts, couponId: string, total: number): Promise<void> {
  const { coupon, stock, claimedUser } = couponKeys(SHARD, couponId);
  const keys = [fenceKey(SHARD), outboxKey(SHARD), coupon, stock, claimedUser];
  await runScript(redis, scripts.change, keys, [EPOCH, couponId, 1, total, 0, '', '', 'redis', CEILING, 0]);
}

/** µs of redis-server per claim. Throws when a claim gets another outcome. */
async function measure(
  redis: Redis,
  scripts: Scripts,
  outcome: Outcome,
  batchSize: number,
  claims: number,
): Promise<number> {
  const couponId = outcome === 'sold_out' ? 'gone' : 'sale';
  const before = await redisCpuMicros(redis);
  let next = 0;
  const sendOneByOne = async (): Promise<void> => {
    while (next < claims) {
      const first = next;
      next += batchSize;
      const users = Array.from({ length: Math.min(batchSize, claims - first) }, (_, i) => `user-${first + i}`);
      const codes = await claim(redis, scripts, couponId, users);
      if (codes.some((code) => code !== CODES[outcome])) throw new Error(`a claim was not ${outcome}`);
    }
  };
  await Promise.all(Array.from({ length: Math.ceil(CLAIMS_IN_FLIGHT / batchSize) }, sendOneByOne));
  return ((await redisCpuMicros(redis)) - before) / claims;
}

/** One script call, encoded as the service does it. Resolves with the code of every claim. */
async function claim(
  redis: Redis,
  scripts: Scripts,
  couponId: string,
  users: readonly string[],
): Promise<(number | undefined)[]> {
  const batch = users.map((userId) => new PendingClaim(couponId, userId, Infinity, () => undefined));
  const { keys, args } = encodeClaims(SHARD, EPOCH, batch);
  const [code, , , results] = (await runScript(redis, scripts.claim, keys, args)) as [
    number,
    number,
    unknown,
    number[],
  ];
  if (code !== 0) throw new Error(`the script answered ${code}`);
  return users.map((_, i) => results[3 * i]);
}
