// Parts of the service and connections dying in the middle of a burst. The service goes on; nothing that a user was
// promised is missing, nothing is doubled.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '../../platform/log.js';
import type { Pool } from '../../platform/mysql.js';
import { createMysqlPool } from '../../platform/mysql.js';
import type { Redis } from '../../platform/redis.js';
import { connectRedis, whenRedisReady } from '../../platform/redis.js';
import { atEndOfFile } from '../harness/cleanup.js';
import { Crowd, users } from '../harness/crowd.js';
import { createTestDatabase } from '../harness/database.js';
import { admin, auditByCommand, createCoupon } from '../harness/operator.js';
import { readOutboxes } from '../harness/outbox.js';
import type { TestServer } from '../harness/servers.js';
import { startTestMariadb, startTestRedis } from '../harness/servers.js';
import type { TestService } from '../harness/service.js';
import { SERVICE_TEST_TIMEOUT_MS, startService } from '../harness/service.js';
import { waitFor } from '../harness/wait-for.js';

const TOTAL = 3_000;
const CONNECTIONS = 200;

let service: TestService;
let redisServer: TestServer;
let mariadb: TestServer;
let mysqlUrl: string;
let redis: Redis;
let mysql: Pool;
let crowd: Crowd;
let couponId: string;
let coupons = 0;

beforeAll(async () => {
  mariadb = await startTestMariadb();
  mysqlUrl = (await createTestDatabase(mariadb.url)).url;
  redisServer = await startTestRedis();
  service = await startService({
    REDIS_URL: redisServer.url,
    MYSQL_URL: mysqlUrl,
    WEB_CONCURRENCY: '2',
    LEDGER_WINDOW: String(TOTAL / 2),
  });
  redis = connectRedis(redisServer.url, { kind: 'request', commandTimeoutMs: 10_000 }, createLog('test', 'silent'));
  await whenRedisReady(redis, 10_000);
  mysql = createMysqlPool(mysqlUrl, 1);
  atEndOfFile(() => mysql.end());
}, SERVICE_TEST_TIMEOUT_MS);
afterAll(() => redis.disconnect());

beforeEach(async () => {
  await everyProcessReady();
  couponId = `fault-${++coupons}`;
  await createCoupon(service, couponId, TOTAL);
  crowd = new Crowd(service.url, couponId, CONNECTIONS);
  atEndOfFile(() => crowd.close());
});

const everybody = users(TOTAL + 500);
/** Resolves when a part of the crowd has been answered, so that what comes next happens in the middle of the burst. */
const inTheMiddle = (winners: number) =>
  waitFor(() => crowd.winners().length >= winners, { what: `${winners} winners` });
const everyProcessReady = () =>
  waitFor(
    async () => {
      const answer = (await admin(service, 'GET', '/v1/processes')) as { processes: { state: string }[] };
      return answer.processes.every(({ state }) => state === 'ready');
    },
    { what: 'every process to be ready' },
  );
const outboxEntries = async () => {
  const keys = await redis.keys('*:outbox');
  return (await readOutboxes(redis, keys)).length;
};
const outboxEmpty = () => waitFor(async () => (await outboxEntries()) === 0, { what: 'the outbox to be empty' });

/** Everybody asks until the answer is final, and every promise is kept. */
async function expectExactlyOnce(): Promise<void> {
  expect(crowd.winners()).toHaveLength(TOTAL);
  crowd.expectConsistentReceipts();
  await outboxEmpty();
  await crowd.expectInLedger(mysql);
  expect(await auditByCommand(service)).toMatchObject({ exitCode: 0 });
}

describe('in the middle of a burst', () => {
  it(
    'an http worker is killed',
    async () => {
      const burst = crowd.insist(everybody);
      await inTheMiddle(500);
      const before = await service.workers();
      process.kill(before.get('http-1') ?? 0, 'SIGKILL');
      await burst;
      await expectExactlyOnce();
      await waitFor(
        async () => {
          const pid = (await service.workers()).get('http-1');
          return pid !== undefined && pid !== before.get('http-1');
        },
        { what: 'http-1 to be replaced' },
      );
    },
    SERVICE_TEST_TIMEOUT_MS,
  );

  it(
    'the ledger worker is killed',
    async () => {
      const burst = crowd.insist(everybody);
      await inTheMiddle(500);
      process.kill((await service.workers()).get('ledger-1') ?? 0, 'SIGKILL');
      await burst;
      await expectExactlyOnce();
    },
    SERVICE_TEST_TIMEOUT_MS,
  );

  it(
    'Redis forgets the scripts and loses all connections, again and again',
    async () => {
      const burst = crowd.insist(everybody);
      let over = false;
      const faults = (async () => {
        while (!over) {
          await redis.script('FLUSH');
          await redis.client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
          await sleep(100);
        }
      })();
      await burst.finally(() => {
        over = true;
      });
      await faults;
      await expectExactlyOnce();
    },
    SERVICE_TEST_TIMEOUT_MS,
  );

  it(
    'one of two instances is killed whole',
    async () => {
      const env = {
        REDIS_URL: redisServer.url,
        MYSQL_URL: mysqlUrl,
        WEB_CONCURRENCY: '1',
        LEDGER_WINDOW: String(TOTAL / 2),
      };
      const other = await startService(env);
      const atTheOther = new Crowd(other.url, couponId, CONNECTIONS);
      atEndOfFile(() => atTheOther.close());
      // The same users at both, as two machines would hear them.
      const bursts = [crowd.insist(everybody), atTheOther.stampede(everybody, 1)];
      await inTheMiddle(500);
      await waitFor(() => atTheOther.winners().length >= 100, { what: 'receipts from the other instance' });
      // Its primary and all of its workers: it leads their process group.
      process.kill(-other.pid, 'SIGKILL');
      await Promise.all(bursts);
      expect(atTheOther.unanswered.length).toBeGreaterThan(0);
      // What its ledger had read is taken over by others after half a minute, and at once by its successor.
      await startService({ ...env, STAMPEDE_DIR: other.dir });
      await expectExactlyOnce();
      for (const [userId, [receipt]] of atTheOther.receipts) {
        expect([userId, crowd.receipts.get(userId)?.[0]]).toEqual([userId, receipt]);
      }
    },
    SERVICE_TEST_TIMEOUT_MS,
  );

  it(
    'Redis is killed and comes back',
    async () => {
      const burst = crowd.insist(everybody);
      await inTheMiddle(500);
      await redisServer.kill();
      await redisServer.restart();
      await burst;
      await whenRedisReady(redis, 10_000);
      await expectExactlyOnce();
    },
    SERVICE_TEST_TIMEOUT_MS,
  );

  it(
    'MySQL is away for its whole length: claims go on up to the ceiling, and all drains when it returns',
    async () => {
      await outboxEmpty();
      await mariadb.stop();
      await crowd.stampede(everybody, 1);
      expect(crowd.heard.get('201 claimed')).toBe(TOTAL / 2);
      expect(crowd.heard.get('503 ledger_behind')).toBe(everybody.length - TOTAL / 2);
      expect(await outboxEntries()).toBeGreaterThanOrEqual(TOTAL / 2);
      // Operators hear that the database is away, not that something is wrong with their request or with us.
      await expect(admin(service, 'GET', `/v1/coupons/${couponId}`)).rejects.toThrow(
        '503 {"type":"urn:stampede:error:unavailable"',
      );
      await expect(admin(service, 'POST', `/v1/coupons/${couponId}/pause`)).rejects.toThrow('outcome_unknown');
      // Repeats get their receipts all the same.
      const [winner = ''] = crowd.winners();
      expect(await crowd.ask(winner)).toBe('200 already_claimed');
      await mariadb.restart();
      await crowd.insist(everybody);
      await expectExactlyOnce();
    },
    SERVICE_TEST_TIMEOUT_MS,
  );
});

it(
  'Redis does not answer: users hear soon that the outcome is unknown, and get their receipts afterwards',
  async () => {
    process.kill(redisServer.pid, 'SIGSTOP');
    const heard = await crowd.ask('ann').finally(() => process.kill(redisServer.pid, 'SIGCONT'));
    expect(heard).toBe('503 outcome_unknown');
    await crowd.insist(['ann', 'bob']);
    expect(crowd.winners().sort()).toEqual(['ann', 'bob']);
    crowd.expectConsistentReceipts();
    await outboxEmpty();
    await crowd.expectInLedger(mysql);
  },
  SERVICE_TEST_TIMEOUT_MS,
);

it(
  'MySQL hangs: claims go on, also while others ask for coupons that nobody knows',
  async () => {
    process.kill(mariadb.pid, 'SIGSTOP');
    try {
      const strangers = Promise.all(
        users(100).map((user) => fetch(`${service.url}/v1/coupons/nobody-${user}`).then((response) => response.status)),
      );
      // A worker may still be on its way back to Redis after the test before; none may wait for MySQL.
      await crowd.insist(users(300));
      expect(crowd.winners()).toHaveLength(300);
      expect(new Set(await strangers)).toEqual(new Set([503]));
    } finally {
      process.kill(mariadb.pid, 'SIGCONT');
    }
    await outboxEmpty();
    await crowd.expectInLedger(mysql);
  },
  SERVICE_TEST_TIMEOUT_MS,
);

it('a coupon that MySQL knows and Redis does not is 503, never 404', async () => {
  await mysql.query(
    `INSERT INTO coupon (coupon_id, shard, version, applied_version, total, paused, ack, returnable, ceiling, created_as,
                         created_at)
       SELECT 'half-made', shard, 2, 1, total, paused, ack, returnable, ceiling, created_as, created_at
         FROM coupon WHERE coupon_id = ?`,
    [couponId],
  );
  const status = async (id: string) => (await fetch(`${service.url}/v1/coupons/${id}`)).status;
  expect(await status('half-made')).toBe(503);
  expect(await status('never-made')).toBe(404);
  await mysql.query("DELETE FROM coupon WHERE coupon_id = 'half-made'");
});

it('lists its processes, each ready', async () => {
  const { processes } = (await admin(service, 'GET', '/v1/processes')) as {
    processes: { name: string; state: string }[];
  };
  expect(processes.map(({ name }) => name).sort()).toEqual(['admin-1', 'http-1', 'http-2', 'ledger-1', 'primary']);
});
