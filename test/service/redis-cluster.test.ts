// The service on a Redis Cluster of three masters with a replica each: everything works, and the death of a master stops its
// own shards only, until its replica takes over and they are rebuilt there, with nobody's help.
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { fenceKey, outboxKey, shardOf } from '../../coupons/keys.js';
import { createLog } from '../../platform/log.js';
import type { Pool } from '../../platform/mysql.js';
import { createMysqlPool } from '../../platform/mysql.js';
import type { Redis } from '../../platform/redis.js';
import { connectRedis, whenRedisReady } from '../../platform/redis.js';
import { atEndOfFile } from '../harness/cleanup.js';
import { Crowd, users } from '../harness/crowd.js';
import { createTestDatabase } from '../harness/database.js';
import { admin, auditByCommand, createCoupon } from '../harness/operator.js';
import type { ClusterNode, TestCluster } from '../harness/redis-cluster.js';
import { startTestCluster } from '../harness/redis-cluster.js';
import type { TestService } from '../harness/service.js';
import { SERVICE_TEST_TIMEOUT_MS, startService } from '../harness/service.js';
import { waitFor } from '../harness/wait-for.js';

const SHARDS = 8;
const TOTAL = 1_500;
const CONNECTIONS = 100;
const everybody = users(TOTAL + 200);

let cluster: TestCluster;
let service: TestService;
let mysql: Pool;
let redis: Redis;
const crowds: Crowd[] = [];

beforeAll(async () => {
  cluster = await startTestCluster();
  const { url } = await createTestDatabase();
  mysql = createMysqlPool(url, 1);
  redis = connectRedis(cluster.url, { kind: 'request', commandTimeoutMs: 10_000 }, createLog('test', 'silent'));
  atEndOfFile(async () => {
    redis.disconnect();
    await mysql.end();
  });
  await whenRedisReady(redis, 10_000);
  service = await startService({
    REDIS_URL: cluster.url,
    MYSQL_URL: url,
    WEB_CONCURRENCY: '1',
    SHARD_COUNT: String(SHARDS),
    REPLICA_COUNT: '1',
  });
}, SERVICE_TEST_TIMEOUT_MS);

afterEach(async () => {
  for (const crowd of crowds.splice(0)) await crowd.close();
});

function crowdOf(couponId: string): Crowd {
  const crowd = new Crowd(service.url, couponId, CONNECTIONS);
  crowds.push(crowd);
  return crowd;
}

/** A coupon id whose shard is on this master now. */
async function couponOn(master: ClusterNode, name: string): Promise<string> {
  for (let number = 0; ; number++) {
    const couponId = `${name}-${number}`;
    if ((await cluster.masterOf(fenceKey(shardOf(couponId, SHARDS)))) === master) return couponId;
  }
}

async function replicaOf(master: ClusterNode): Promise<ClusterNode> {
  const id = (await master.redis.call('CLUSTER', 'MYID')) as string;
  const lines = (await master.redis.call('CLUSTER', 'REPLICAS', id)) as string[];
  const port = /:(\d+)@/.exec(lines[0] ?? '')?.[1];
  const replica = cluster.nodes.find(({ server }) => new URL(server.url).port === port);
  if (replica === undefined) throw new Error('the master has no replica');
  return replica;
}

const outboxesEmpty = () =>
  waitFor(
    async () => {
      const lengths = await Promise.all(Array.from({ length: SHARDS }, (_, shard) => redis.xlen(outboxKey(shard))));
      return lengths.every((length) => length === 0);
    },
    { what: 'the outboxes to be empty' },
  );

/** Runs of the jobs so far. */
async function jobsDone(): Promise<number> {
  const response = await fetch(`${service.adminUrl}/metrics`, {
    headers: { authorization: `Bearer ${service.adminToken}` },
  });
  const done = (await response.text()).matchAll(/^stampede_jobs_total\{.*result="done".*\} (\d+)$/gm);
  return [...done].reduce((sum, [, runs]) => sum + Number(runs), 0);
}

async function expectPromisesKept(...every: Crowd[]): Promise<void> {
  await outboxesEmpty();
  for (const crowd of every) {
    crowd.expectConsistentReceipts();
    await crowd.expectInLedger(mysql);
  }
  expect(await auditByCommand(service)).toMatchObject({ exitCode: 0 });
}

describe('the whole path', () => {
  it.each(['redis', 'fsync', 'replica', 'ledger'] as const)(
    'at level %s: every claim once, repeats get their receipts',
    async (ack) => {
      const couponId = `at-${ack}`;
      await createCoupon(service, couponId, 50, { ack });
      const crowd = crowdOf(couponId);
      await crowd.insist(users(60));
      expect(crowd.winners()).toHaveLength(50);
      const [winner = ''] = crowd.winners();
      expect(await crowd.ask(winner)).toBe('200 already_claimed');
      await expectPromisesKept(crowd);
    },
    SERVICE_TEST_TIMEOUT_MS,
  );

  it('changes coupons on every shard', async () => {
    const ids = users(2 * SHARDS, 'changed');
    for (const couponId of ids) {
      await createCoupon(service, couponId, 1);
      await admin(service, 'POST', `/v1/coupons/${couponId}/pause`);
      await admin(service, 'POST', `/v1/coupons/${couponId}/resume`);
      const crowd = crowdOf(couponId);
      expect([await crowd.ask('ann'), await crowd.ask('bob')]).toEqual(['201 claimed', '409 sold_out']);
    }
    expect(new Set(ids.map((id) => shardOf(id, SHARDS))).size).toBe(SHARDS);
    await outboxesEmpty();
    expect(await auditByCommand(service)).toMatchObject({ exitCode: 0 });
  });

  it('runs the jobs', async () => {
    await waitFor(async () => (await jobsDone()) > 0, { what: 'a job to have run' });
  });
});

describe('a master is killed in the middle of a burst', () => {
  it.each(['ledger', 'replica'] as const)(
    'at level %s: other shards go on, its own come back, and every promise is kept',
    async (ack) => {
      const dying = await cluster.masterOf(fenceKey(0));
      const surviving = await waitFor(
        async () => {
          const masters = await Promise.all(
            Array.from({ length: SHARDS }, (_, shard) => cluster.masterOf(fenceKey(shard))),
          );
          return masters.find((master) => master !== dying);
        },
        { what: 'another master' },
      );
      const [hit, spared] = [await couponOn(dying, `hit-${ack}`), await couponOn(surviving, `spared-${ack}`)];
      for (const couponId of [hit, spared]) await createCoupon(service, couponId, TOTAL, { ack });
      const [hitCrowd, sparedCrowd] = [crowdOf(hit), crowdOf(spared)];

      const burst = Promise.all([hitCrowd.insist(everybody), sparedCrowd.insist(everybody.slice(0, TOTAL / 2))]);
      await waitFor(() => hitCrowd.winners().length >= 200, { what: 'the middle of the burst' });
      await dying.server.kill();
      const winnersBefore = hitCrowd.winners().length;

      // One claim after the other on the spared shard, until somebody serves the other one again.
      const shard = shardOf(hit, SHARDS);
      const heard: string[] = [];
      do heard.push(await sparedCrowd.ask(`patient-${heard.length}`));
      while ((await cluster.masterOf(fenceKey(shard)).catch(() => dying)) === dying);
      expect(heard.filter((answer) => answer === '201 claimed').length).toBeGreaterThan(0);
      const answers = [...hitCrowd.heard.keys()];
      expect(answers.filter((answer) => /^503 (unavailable|outcome_unknown|fenced)$/.test(answer))).not.toEqual([]);

      if (ack === 'ledger') {
        await waitFor(() => hitCrowd.winners().length > winnersBefore, { what: 'claims on the replica' });
      }
      // Without it, its successor has no replica, and level `replica` is not reached by anybody.
      await dying.server.restart();
      await burst;
      expect(hitCrowd.winners()).toHaveLength(TOTAL);
      await waitFor(async () => (await dying.redis.info('replication')).includes('master_link_status:up'), {
        what: 'the killed node to follow its successor',
      });
      await expectPromisesKept(hitCrowd, sparedCrowd);
    },
    SERVICE_TEST_TIMEOUT_MS,
  );

  it(
    'at level redis: what neither the replica nor MySQL had is remembered by those who said it',
    async () => {
      const dying = await cluster.masterOf(fenceKey(0));
      const replica = await replicaOf(dying);
      const couponId = await couponOn(dying, 'remembered');
      await createCoupon(service, couponId, TOTAL, { ack: 'redis' });
      const crowd = crowdOf(couponId);
      await crowd.insist(everybody.slice(0, 100));
      await outboxesEmpty();

      const ledger = (await service.workers()).get('ledger-1') ?? 0;
      const [stopped, killed] = [[ledger, replica.server.pid], dying.server];
      for (const pid of stopped) process.kill(pid, 'SIGSTOP');
      try {
        // What is in the sockets would reach the replica later.
        await dying.redis.client('KILL', 'TYPE', 'REPLICA');
        await crowd.insist(everybody.slice(100, 300));
        await killed.kill();
      } finally {
        for (const pid of stopped) process.kill(pid, 'SIGCONT');
      }
      await crowd.insist(everybody);
      expect(crowd.winners()).toHaveLength(TOTAL);
      await dying.server.restart();
      await expectPromisesKept(crowd);
    },
    SERVICE_TEST_TIMEOUT_MS,
  );
});
