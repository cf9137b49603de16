// Acknowledgement levels: a positive answer is given when the level is reached, and not before. Real Redis, replica, MySQL.
import { beforeAll, describe, expect, it } from 'vitest';
import type { ClaimOutcome, ReturnOutcome } from '../../../cluster/claims/claim-service.js';
import type { Ack } from '../../../coupons/definition.js';
import { shardOf } from '../../../coupons/keys.js';
import type { CouponsService } from '../../../coupons/coupons.js';
import type { AwaitedClaims } from '../../harness/awaited-claims.js';
import type { Installation } from '../../harness/installation.js';
import { createInstallation } from '../../harness/installation.js';
import { follow } from '../../harness/replica.js';
import type { TestServer } from '../../harness/servers.js';
import { startTestRedis } from '../../harness/servers.js';
import { waitFor } from '../../harness/wait-for.js';

let installation: Installation;
let replica: TestServer;
let ledger: Awaited<ReturnType<Installation['startLedger']>>;
let claims: AwaitedClaims;
let coupons: CouponsService;

beforeAll(async () => {
  installation = await createInstallation({ REPLICA_COUNT: '1', SHARD_COUNT: '1', CLAIM_TIMEOUT_MS: '1000' });
  replica = await startTestRedis();
  await follow(replica, installation.redisServer);
  ledger = await installation.startLedger();
  claims = await installation.startClaims();
  coupons = await installation.startCoupons();
});

const create = (couponId: string, ack: Ack | undefined, total = 100) =>
  coupons.create({ couponId, total, opensAt: null, closesAt: null, ack, returnable: true });
const ack = (outcome: ClaimOutcome | ReturnOutcome) =>
  outcome.status === 'refused' ? outcome.code : outcome.receipt.ack;

it.each(['redis', 'fsync', 'replica', 'ledger'] as const)(
  '%s: claim, repeat, receipt and return all state it',
  async (level) => {
    await create(`at-${level}`, level);
    const first = await claims.claim(`at-${level}`, 'ann');
    expect([first.status, ack(first)]).toEqual(['claimed', level]);
    const again = await claims.claim(`at-${level}`, 'ann');
    expect([again.status, ack(again)]).toEqual(['already_claimed', level]);
    expect(await claims.receipt(`at-${level}`, 'ann')).toEqual(again);
    const returned = await claims.returnClaim(`at-${level}`, 'ann');
    expect([returned.status, ack(returned)]).toEqual(['returned', level]);
    expect(await claims.returnClaim(`at-${level}`, 'ann')).toEqual(returned);
    expect(await claims.claim(`at-${level}`, 'ann')).toMatchObject({ code: 'returned' });
  },
);

describe('ledger', () => {
  it('answers when the row is committed, and not before', async () => {
    await create('books', 'ledger', 1_000);
    const users = Array.from({ length: 200 }, (_, i) => `user-${i}`);
    await Promise.all(
      users.map(async (user) => {
        expect(await claims.claim('books', user)).toMatchObject({ status: 'claimed' });
        expect((await installation.claimRows('books')).map(({ userId }) => userId)).toContain(user);
      }),
    );
  });

  it('answers outcome_unknown when the ledger is away, while other levels of the same shard go on', async () => {
    await create('slow', 'ledger');
    await create('quick', 'redis');
    await claims.claim('slow', 'rita');
    await ledger.drain();
    const slow = claims.claim('slow', 'ann');
    expect(ack(await claims.claim('quick', 'ann'))).toBe('redis');
    expect(ack(await slow)).toBe('outcome_unknown');
    expect(ack(await claims.claim('slow', 'ann'))).toBe('outcome_unknown');
    expect(ack(await claims.receipt('slow', 'ann'))).toBe('outcome_unknown');
    expect(ack(await claims.returnClaim('slow', 'rita'))).toBe('outcome_unknown');
    ledger = await installation.startLedger();
    await waitFor(async () => (await claims.claim('slow', 'ann')).status === 'already_claimed', { what: 'the commit' });
    expect(await claims.receipt('slow', 'ann')).toMatchObject({ receipt: { claimNo: 2, ack: 'ledger' } });
    await waitFor(async () => (await claims.returnClaim('slow', 'rita')).status === 'returned', { what: 'the mark' });
  });
});

describe('replica', () => {
  it('answers outcome_unknown while a replica is behind, and the receipt when it has caught up', async () => {
    await create('copied', 'replica');
    await create('single', 'redis');
    expect(shardOf('copied', 1)).toBe(shardOf('single', 1));
    await create('given-back', 'replica');
    await claims.claim('given-back', 'rita');
    process.kill(replica.pid, 'SIGSTOP');
    try {
      const copied = claims.claim('copied', 'ann');
      expect(ack(await claims.claim('single', 'ann'))).toBe('redis');
      expect(ack(await copied)).toBe('outcome_unknown');
      // A repeat writes nothing of its own, and is held to the level all the same: first by the short way, then not at all.
      expect(ack(await claims.claim('copied', 'ann'))).toBe('outcome_unknown');
      expect(ack(await claims.receipt('copied', 'ann'))).toBe('outcome_unknown');
      expect(ack(await claims.returnClaim('given-back', 'rita'))).toBe('outcome_unknown');
    } finally {
      process.kill(replica.pid, 'SIGCONT');
    }
    const outcome = await waitFor(
      async () => {
        const answer = await claims.claim('copied', 'ann');
        return answer.status !== 'refused' && answer;
      },
      { what: 'the replica to catch up' },
    );
    expect(outcome).toMatchObject({ status: 'already_claimed', receipt: { claimNo: 1, ack: 'replica' } });
    expect(await claims.returnClaim('given-back', 'rita')).toMatchObject({ status: 'returned' });
  });

  it('is refused at creation with the reason when replicas are missing', async () => {
    await replica.stop();
    await waitFor(async () => (await installation.redis.info('replication')).includes('connected_slaves:0'), {
      what: 'the replica to be gone',
    });
    await expect(create('nowhere', 'replica')).rejects.toMatchObject({
      code: 'ack_unavailable',
      message: 'Redis has 0 of the 1 replicas that REPLICA_COUNT names.',
    });
  });
});

describe('fsync', () => {
  it('is refused at creation on a Redis that does not flush, and withheld from claims once that is noticed', async () => {
    await create('flushed', undefined);
    expect(ack(await claims.claim('flushed', 'ann'))).toBe('fsync');
    await installation.redis.config('SET', 'appendfsync', 'everysec');
    await expect(create('unflushed', 'fsync')).rejects.toMatchObject({ code: 'ack_unavailable' });
    expect((await create('weaker', undefined)).coupon.ack).toBe('redis');
    await waitFor(async () => ack(await claims.claim('flushed', 'ann')) === 'outcome_unknown', {
      what: 'the next look',
    });
    await installation.redis.config('SET', 'appendfsync', 'always');
    await waitFor(async () => ack(await claims.claim('flushed', 'ann')) === 'fsync', { what: 'the next look' });
    // The same request means the same coupon, whatever the default has become meanwhile.
    expect((await create('weaker', undefined)).created).toBe(false);
  });
});
