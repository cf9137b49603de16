// The part `memory`: what a claimed user costs Redis, with ids of 20 bytes, and what is left of it when the coupon is archived.
// Every user claims through the service, and the coupon is archived by what archives in the service.
import { setTimeout as delay } from 'node:timers/promises';
import { archiveCoupon } from '../coupons/archive.js';
import { Shards } from '../coupons/shards.js';
import { loadScripts } from '../lua/scripts.js';
import type { Log } from '../platform/log.js';
import { createMysqlPool } from '../platform/mysql.js';
import { connectRedis, whenRedisReady } from '../platform/redis.js';
import { auditProblems } from './audit.js';
import { complaintsOf, LoadGenerator } from './load-generator.js';
import type { Part } from './part.js';
import type { Service } from './service.js';
import { SHARD_COUNT, startService } from './service.js';
import { stoppingAll } from './started.js';
import { spreadOf } from './statistics.js';

/** Users of the coupon. */
const SCALES = { full: 1_000_000, short: 20_000 } as const;

const COUPON = 'measured';
/** With the number, which has `NUMBER_DIGITS` of them, 20 bytes. */
const USER_PREFIX = 'bench-user-no';
const FIRST_USER = 1_000_000;

/** So many claims at once that the ledger's window (LEDGER_WINDOW, 100,000) is not the end of it. */
const CLAIMS_AT_ONCE = 50_000;
const USERS_PER_REQUEST = 1_000;
const CONNECTIONS = 4;
const REDIS_TIMEOUT_MS = 10_000;
/** Buffers of clients and jobs come and go. */
const SAMPLES = 9;
const SAMPLE_EVERY_MS = 250;

export const MEMORY: Part = {
  name: 'memory',
  description: 'Redis memory of a claimed user, and what is left of it after archiving',
  minutes: 1,
  measure: async (context) =>
    await stoppingAll(async (keep) => {
      const { signal, report } = context;
      const users = SCALES[context.scale];
      report('starting a service');
      const service = keep(await startService({ ...context, workers: 1 }));
      const generator = keep(new LoadGenerator(signal));
      await service.createCoupon(COUPON, users);
      const empty = await usedMemory(service, signal);
      const problems: string[] = [];
      for (let done = 0; done < users; done += CLAIMS_AT_ONCE) {
        report(`${done} of ${users} users have claimed`);
        const requests = Math.min(CLAIMS_AT_ONCE, users - done);
        const load = await generator.run({
          ...{ url: service.url, couponId: COUPON, userPrefix: USER_PREFIX, firstUser: FIRST_USER + done },
          ...{ requests, batch: USERS_PER_REQUEST, connections: CONNECTIONS },
        });
        problems.push(...complaintsOf('a claim', load, '200 claimed'));
        await service.databases.whenWritten();
      }
      const full = await usedMemory(service, signal);
      problems.push(...(await auditProblems(service, users)));
      report('archiving');
      await archive(service, context.log);
      const archived = await usedMemory(service, signal);
      problems.push(...(await auditProblems(service, users)));

      const perUser = full.map((bytes) => (bytes - spreadOf(empty).median) / users);
      // To the whole byte: a script that was not loaded before, a job that was not known, are tens of kB, and of no user.
      const perArchived = archived.map((bytes) => Math.max(0, Math.round((bytes - spreadOf(empty).median) / users)));
      const allocator = await service.databases.memoryAllocator();
      const mb = (samples: readonly number[]) => spreadOf(samples.map((bytes) => bytes / 1e6));
      return {
        tables: [
          {
            title: `Redis memory, ${users} users with ids of 20 bytes`,
            columns: ['empty coupon', 'all claimed', 'archived'],
            rows: [
              { title: 'used_memory, MB', digits: 1, cells: [mb(empty), mb(full), mb(archived)] },
              { title: 'bytes per user', digits: 1, cells: [undefined, spreadOf(perUser), spreadOf(perArchived)] },
            ],
            notes: [
              `Claimed in batches through the service; measured when the outbox is empty, ${SAMPLES} times in a row.`,
              `The allocator is ${allocator}. It gives 32 bytes each to the id and the entry of the hash (22 and 24 bytes) where it has no smaller size for them, as Debian's; the one that Redis brings has 24. The receipt takes 16.`,
            ],
          },
        ],
        pictures: [],
        findings: [
          { target: 'memoryPerUser', value: spreadOf(perUser) },
          { target: 'memoryArchived', value: spreadOf(perArchived) },
        ],
        problems,
        raw: { users, empty, full, archived, allocator },
      };
    }),
};

/** Bytes, once Redis has freed what it frees in the background. */
async function usedMemory({ databases }: Service, signal: AbortSignal): Promise<number[]> {
  await databases.whenWritten();
  await databases.whenFreed();
  const samples: number[] = [];
  for (let i = 0; i < SAMPLES; i++) {
    samples.push(await databases.usedMemory());
    await delay(SAMPLE_EVERY_MS, undefined, { signal });
  }
  return samples;
}

/** The coupon ends now, and goes by the procedure of the service's own job, which would look for it within a minute. */
async function archive(service: Service, log: Log): Promise<void> {
  await service.admin('PATCH', `/v1/coupons/${COUPON}`, { closesAt: new Date().toISOString() });
  const { REDIS_URL, MYSQL_URL } = service.databaseUrls;
  const redis = connectRedis(REDIS_URL, { kind: 'request', commandTimeoutMs: REDIS_TIMEOUT_MS }, log);
  const mysql = createMysqlPool(MYSQL_URL, 1);
  try {
    await whenRedisReady(redis, REDIS_TIMEOUT_MS);
    const context = { redis, mysql, scripts: loadScripts(), shards: new Shards(mysql, SHARD_COUNT) };
    if (!(await archiveCoupon(context, COUPON))) throw new Error('the coupon could not be archived');
  } finally {
    redis.disconnect();
    await mysql.end();
  }
}
