// One shard on a real Redis, driven through the scripts alone: no workers, no MySQL.
import { atEndOfFile } from './cleanup.js';
import { readOutboxes } from './outbox.js';
import { startTestRedis } from './servers.js';
import type { TestServer } from './servers.js';
import { couponKeys, fenceKey, LEDGER_GROUP, outboxKey } from '../../coupons/keys.js';
import type { OutboxEntry, RawEntry } from '../../coupons/outbox.js';
import type { ScriptName, Scripts } from '../../lua/scripts.js';
import { loadScripts, runScript } from '../../lua/scripts.js';
import { createLog } from '../../platform/log.js';
import type { Redis } from '../../platform/redis.js';
import { connectRedis, whenRedisReady } from '../../platform/redis.js';

export const SCRIPT_SHARD = 7;
export const SCRIPT_SHARD_TOKEN = 'token-of-the-test';

export interface ClaimAnswer {
  code: number;
  no: number;
  at: number;
}

export interface Change {
  readonly version: number;
  readonly delta?: number;
  readonly paused?: boolean;
  readonly opensAt?: number;
  readonly closesAt?: number;
  readonly ack?: string;
  readonly ceiling?: number;
  readonly returnable?: boolean;
}

/** A private Redis with a connection to it; both end with the file. */
export async function startScriptRedis(
  options: Parameters<typeof startTestRedis>[0] = {},
): Promise<{ server: TestServer; redis: Redis }> {
  const server = await startTestRedis(options);
  const redis = connectRedis(server.url, { kind: 'request', commandTimeoutMs: 10_000 }, createLog('test', 'silent'));
  atEndOfFile(() => {
    redis.disconnect();
    return Promise.resolve();
  });
  await whenRedisReady(redis, 10_000);
  return { server, redis };
}

export class ScriptShard {
  readonly redis: Redis;
  readonly fence = fenceKey(SCRIPT_SHARD);
  readonly outboxKey = outboxKey(SCRIPT_SHARD);
  epoch = 1;
  scripts: Scripts = loadScripts();

  constructor(redis: Redis) {
    this.redis = redis;
  }

  keys(couponId: string) {
    return couponKeys(SCRIPT_SHARD, couponId);
  }

  run(name: ScriptName, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    return runScript(this.redis, this.scripts[name], keys, args);
  }

  /** Closes the shard under its epoch, and opens it with nothing loaded. */
  async openEmpty(): Promise<void> {
    await this.run('rebuild_begin', [this.fence, this.outboxKey], [this.epoch, SCRIPT_SHARD_TOKEN, LEDGER_GROUP]);
    await this.run('rebuild_open', [this.fence, this.outboxKey], [this.epoch, SCRIPT_SHARD_TOKEN, 0, 0]);
  }

  async change(couponId: string, change: Change): Promise<number[]> {
    const { coupon, stock, claimedUser } = this.keys(couponId);
    return (await this.run(
      'change',
      [this.fence, this.outboxKey, coupon, stock, claimedUser],
      [
        this.epoch,
        couponId,
        change.version,
        change.delta ?? 0,
        change.paused === true ? 1 : 0,
        change.opensAt ?? '',
        change.closesAt ?? '',
        change.ack ?? 'redis',
        change.ceiling ?? 1_000_000,
        change.returnable === false ? 0 : 1,
      ],
    )) as number[];
  }

  /** Each group is one coupon and its users. The answers come in the same order, flat. */
  async claimBatch(groups: readonly [couponId: string, users: readonly string[]][]): Promise<ClaimAnswer[] | number> {
    const keys = [this.fence, this.outboxKey];
    const args: (string | number)[] = [this.epoch];
    for (const [couponId, users] of groups) {
      const own = this.keys(couponId);
      keys.push(own.coupon, own.stock, own.claimedUser);
      args.push(couponId, users.length, ...users);
    }
    const [code, , , flat] = (await this.run('claim', keys, args)) as [number, number, unknown, number[]];
    if (code !== 0) return code;
    const answers: ClaimAnswer[] = [];
    for (let i = 0; i < flat.length; i += 3) {
      answers.push({ code: flat[i] ?? 0, no: flat[i + 1] ?? 0, at: flat[i + 2] ?? 0 });
    }
    return answers;
  }

  /** Of one coupon; fails when the shard is fenced. */
  async claim(couponId: string, ...users: string[]): Promise<ClaimAnswer[]> {
    const answers = await this.claimBatch([[couponId, users]]);
    if (typeof answers === 'number') throw new Error(`claim answered ${answers}`);
    return answers;
  }

  /** Code, claim number, claimed at, returned at, level. */
  async returnClaim(couponId: string, userId: string): Promise<unknown[]> {
    const { coupon, stock, claimedUser } = this.keys(couponId);
    const keys = [this.fence, this.outboxKey, coupon, stock, claimedUser];
    return (await this.run('return', keys, [this.epoch, couponId, userId])) as unknown[];
  }

  async receipt(couponId: string, userId: string): Promise<unknown[]> {
    const { coupon, stock, claimedUser } = this.keys(couponId);
    return (await this.run(
      'receipt',
      [this.fence, coupon, stock, claimedUser, this.outboxKey],
      [this.epoch, couponId, userId],
    )) as unknown[];
  }

  async view(couponId: string): Promise<number[]> {
    const { coupon, stock, claimedUser } = this.keys(couponId);
    return (await this.run('view', [this.fence, coupon, stock, claimedUser], [this.epoch, couponId])) as number[];
  }

  async stock(couponId: string): Promise<number> {
    return Number(await this.redis.get(this.keys(couponId).stock));
  }

  async outbox(): Promise<OutboxEntry[]> {
    const contents = await readOutboxes(this.redis, [this.outboxKey]);
    return contents.filter((entry): entry is OutboxEntry => entry.kind !== 'poison');
  }

  /** The ids of everything in the outbox, read as a consumer of the ledger's group. */
  async readOutbox(): Promise<string[]> {
    const reply = (await this.redis.xreadgroup('GROUP', LEDGER_GROUP, 'test', 'STREAMS', this.outboxKey, '>')) as
      [string, RawEntry[]][] | null;
    return (reply?.[0]?.[1] ?? []).map(([id]) => id);
  }

  /** `coupons`: what changes with them, by coupon. */
  async acknowledge(
    ids: readonly string[],
    coupons: Readonly<Record<string, { ceiling?: number; returns?: readonly string[] }>> = {},
  ): Promise<number> {
    const keys = Object.keys(coupons).flatMap((couponId) => [this.keys(couponId).coupon, this.keys(couponId).stock]);
    const progress = Object.values(coupons).flatMap(({ ceiling = 0, returns = [] }) => [
      ceiling,
      returns.length,
      ...returns,
    ]);
    return (await this.run(
      'acknowledge',
      [this.fence, this.outboxKey, ...keys],
      [this.epoch, 'open', LEDGER_GROUP, ids.length, ...ids, ...progress],
    )) as number;
  }
}
