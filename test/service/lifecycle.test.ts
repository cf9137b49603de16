// Starting, reloading and stopping the whole service: no failed request on a reload, no lost claim on a stop, everything
// found again at the next start.
import { connect } from 'node:net';
import { beforeAll, describe, expect, it } from 'vitest';
import { createMysqlPool } from '../../platform/mysql.js';
import { atEndOfFile } from '../harness/cleanup.js';
import { Crowd, users } from '../harness/crowd.js';
import { createTestDatabase } from '../harness/database.js';
import { processesBelow } from '../harness/left-behind.js';
import { auditByCommand, command, createCoupon } from '../harness/operator.js';
import { startTestRedis } from '../harness/servers.js';
import type { TestService } from '../harness/service.js';
import { SERVICE_TEST_TIMEOUT_MS, startService } from '../harness/service.js';
import { waitFor } from '../harness/wait-for.js';

const CONNECTIONS = 100;

describe('with databases of its own', () => {
  it(
    'keeps coupons, claims and the admin token from one start to the next, and leaves nothing running',
    async () => {
      const first = await startService({ WEB_CONCURRENCY: '1' });
      await createCoupon(first, 'kept', 10);
      const crowd = new Crowd(first.url, 'kept', 4);
      await crowd.insist(['ann', 'bob']);
      await crowd.close();
      expect(await first.stop('SIGINT')).toEqual({ code: 0, signal: null });
      expect(await processesBelow(first.dir)).toEqual([]);

      const second = await startService({ WEB_CONCURRENCY: '1', STAMPEDE_DIR: first.dir });
      const later = new Crowd(second.url, 'kept', 4);
      atEndOfFile(() => later.close());
      expect(await later.ask('ann')).toBe('200 already_claimed');
      expect(later.receipts.get('ann')).toEqual(crowd.receipts.get('ann'));
      expect(await later.ask('cid')).toBe('201 claimed');
      expect(await auditByCommand(second)).toMatchObject({ exitCode: 0 });
      const { exitCode, output } = await command(second, 'coupon', 'show', 'kept', '--json');
      expect({ exitCode, ...(JSON.parse(output) as object) }).toMatchObject({ exitCode: 0, total: 10, remaining: 7 });
      expect(await second.stop()).toEqual({ code: 0, signal: null });
      expect(await processesBelow(first.dir)).toEqual([]);
      expect(await isListening(second.url)).toBe(false);
    },
    2 * SERVICE_TEST_TIMEOUT_MS,
  );
});

describe('under load', () => {
  let service: TestService;
  let mysqlUrl: string;

  beforeAll(async () => {
    mysqlUrl = (await createTestDatabase()).url;
    const redis = await startTestRedis();
    service = await startService({ REDIS_URL: redis.url, MYSQL_URL: mysqlUrl, WEB_CONCURRENCY: '2' });
  }, SERVICE_TEST_TIMEOUT_MS);

  it(
    'SIGHUP replaces every worker without one failed request',
    async () => {
      await createCoupon(service, 'reload', 1_000_000);
      const crowd = new Crowd(service.url, 'reload', CONNECTIONS);
      atEndOfFile(() => crowd.close());
      const before = await service.workers();
      let reloaded = false;
      const load = Promise.all(
        users(CONNECTIONS).map(async (user) => {
          for (let i = 0; !reloaded; i++) await crowd.ask(`${user}-${i}`);
        }),
      );
      await waitFor(() => crowd.winners().length > 500, { what: 'the load to begin' });
      process.kill(service.pid, 'SIGHUP');
      await waitFor(
        async () => {
          const now = await service.workers();
          return now.size === before.size && [...before].every(([name, pid]) => now.has(name) && now.get(name) !== pid);
        },
        { what: 'every worker to be replaced', timeoutMs: 60_000 },
      ).finally(() => {
        reloaded = true;
      });
      await load;
      expect(crowd.unanswered).toEqual([]);
      expect([...crowd.heard.keys()]).toEqual(['201 claimed']);
      // The last of them has still to start.
      await waitFor(() => service.output().includes('reload done'), {
        what: 'the end of the reload',
        timeoutMs: 60_000,
      });
    },
    SERVICE_TEST_TIMEOUT_MS,
  );

  it(
    'a reload with a version that is older than the tables ends early, and the service goes on',
    async () => {
      const before = await service.workers();
      const mysql = createMysqlPool(mysqlUrl, 1);
      atEndOfFile(() => mysql.end());
      await mysql.query("INSERT INTO schema_migration VALUES (9999, 'future', REPEAT('0', 64), NOW())");
      process.kill(service.pid, 'SIGHUP');
      await waitFor(() => service.output().includes('reload ended early'), { what: 'the end', timeoutMs: 60_000 });
      expect(service.output()).toContain('the database is at migration 9999');
      await mysql.query('DELETE FROM schema_migration WHERE number = 9999');
      expect(await service.workers()).toEqual(before);
    },
    SERVICE_TEST_TIMEOUT_MS,
  );

  it(
    'SIGTERM answers what it has and ends with every answered claim in MySQL',
    async () => {
      await createCoupon(service, 'stop', 1_000_000);
      const crowd = new Crowd(service.url, 'stop', CONNECTIONS);
      atEndOfFile(() => crowd.close());
      let stopped = false;
      const load = Promise.all(
        users(CONNECTIONS).map(async (user) => {
          for (let i = 0; !stopped; i++) if ((await crowd.ask(`${user}-${i}`)) === 'no answer') return;
        }),
      );
      await waitFor(() => crowd.winners().length > 1_000, { what: 'the load to begin' });
      const exit = await service.stop('SIGTERM');
      stopped = true;
      await load;
      expect(exit).toEqual({ code: 0, signal: null });
      crowd.expectConsistentReceipts();
      const mysql = createMysqlPool(mysqlUrl, 1);
      atEndOfFile(() => mysql.end());
      await crowd.expectInLedger(mysql);
    },
    SERVICE_TEST_TIMEOUT_MS,
  );
});

function isListening(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
