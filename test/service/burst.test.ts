// The stampede itself, through the whole service: exact winners, one receipt each, a complete ledger, a clean audit.
import { beforeAll, expect, it } from 'vitest';
import { createMysqlPool } from '../../platform/mysql.js';
import { atEndOfFile } from '../harness/cleanup.js';
import { Crowd, users } from '../harness/crowd.js';
import { createTestDatabase } from '../harness/database.js';
import { auditByCommand, createCoupon } from '../harness/operator.js';
import { startTestRedis } from '../harness/servers.js';
import type { TestService } from '../harness/service.js';
import { startService } from '../harness/service.js';

const TOTAL = 10_000;
const CONNECTIONS = 2_000;
let service: TestService;
let mysqlUrl: string;

beforeAll(async () => {
  mysqlUrl = (await createTestDatabase()).url;
  const redis = await startTestRedis();
  service = await startService({ REDIS_URL: redis.url, MYSQL_URL: mysqlUrl, WEB_CONCURRENCY: '2' });
});

it(`gives ${TOTAL} coupons to exactly ${TOTAL} of ${2 * TOTAL} users who each ask 3 times over ${CONNECTIONS} connections`, async () => {
  await createCoupon(service, 'burst', TOTAL);
  // The service sheds load with 503s by design; a user who hears one asks again.
  const crowd = new Crowd(service.url, 'burst', CONNECTIONS);
  atEndOfFile(() => crowd.close());
  await crowd.stampede(users(2 * TOTAL), 3);
  await crowd.insist(users(2 * TOTAL));

  expect(crowd.unanswered).toEqual([]);
  expect(crowd.winners()).toHaveLength(TOTAL);
  crowd.expectConsistentReceipts();
  expect(crowd.heard.get('201 claimed')).toBe(TOTAL);
  const troubles = [...crowd.heard.keys()].filter((heard) => heard.startsWith('5') && heard !== '503 overloaded');
  expect(troubles).toEqual([]);
  // Some, where the machine is busy with other things: not most.
  expect(crowd.heard.get('503 overloaded') ?? 0).toBeLessThan(TOTAL);

  const audit = await auditByCommand(service);
  expect(audit.output).toContain('Every invariant holds');
  expect(audit.exitCode).toBe(0);

  await service.stop();
  const mysql = createMysqlPool(mysqlUrl, 1);
  atEndOfFile(() => mysql.end());
  await crowd.expectInLedger(mysql);
  const [rows] = await mysql.query(
    'SELECT COUNT(*) AS n, MIN(claim_no) AS low, MAX(claim_no) AS high FROM coupon_claim_log',
  );
  expect(rows).toMatchObject([{ n: TOTAL, low: 1, high: TOTAL }]);
}, 180_000);
