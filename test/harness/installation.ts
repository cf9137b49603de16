// One installation in the test's own process: a private Redis, a database of its own, migrated, and the parts of the
// service that the test asks for. Nothing is forked.
import type { ActorContext } from '../../cluster/actor.js';
import { ClaimMetrics } from '../../cluster/claims/claim-metrics.js';
import { createClaimService } from '../../cluster/claims/redis-claim-service.js';
import type { CouponsService } from '../../coupons/coupons.js';
import { outboxKey } from '../../coupons/keys.js';
import { createCoupons } from '../../coupons/mysql-redis-coupons.js';
import type { Log } from '../../platform/log.js';
import { createLog } from '../../platform/log.js';
import { Metrics } from '../../platform/metrics/metrics.js';
import type { Pool, RowDataPacket } from '../../platform/mysql.js';
import { createMysqlPool } from '../../platform/mysql.js';
import type { Redis } from '../../platform/redis.js';
import { connectRedis, whenRedisReady } from '../../platform/redis.js';
import type { Settings } from '../../platform/settings.js';
import { readSettings } from '../../platform/settings.js';
import { createActor as createLedger } from '../../workers/ledger/actor.js';
import { migrate } from '../../workers/migrations/migrate.js';
import type { AwaitedClaims } from './awaited-claims.js';
import { awaited } from './awaited-claims.js';
import { atEndOfFile } from './cleanup.js';
import { createTestDatabase } from './database.js';
import { readOutboxes } from './outbox.js';
import { makeScratchFolder } from './scratch.js';
import type { TestServer } from './servers.js';
import { startTestRedis } from './servers.js';
import { waitFor } from './wait-for.js';

const READY_TIMEOUT_MS = 20_000;

export interface Installation {
  readonly settings: Settings;
  readonly log: Log;
  readonly redisServer: TestServer;
  /** The test's own connections. */
  readonly redis: Redis;
  readonly mysql: Pool;
  /**
   * Resolves when its shards are open, or when it is unready for the reasons that the test expects. `drain` ends it; done at the
   * end of the file in any case.
   */
  startLedger(name?: string, metrics?: Metrics, unready?: readonly string[]): Promise<RunningLedger>;
  /** `own`: settings of this one alone. */
  startClaims(own?: Partial<Settings>, metrics?: Metrics, unready?: readonly string[]): Promise<AwaitedClaims>;
  startCoupons(): Promise<CouponsService>;
  /** Rows of the claim log: number and user. */
  claimRows(couponId: string): Promise<{ claimNo: number; userId: string }[]>;
  /** Claims, returns and changes that stand in the outbox. */
  outboxEntries(): Promise<number>;
}

export interface RunningLedger {
  drain(limitMs?: number): Promise<void>;
  unreadyReasons(): string[];
}

/**
 * `env` as the service would get it; a MYSQL_URL replaces the database on the shared server, a REDIS_URL the Redis that is
 * started otherwise.
 */
export async function createInstallation(env: Readonly<Record<string, string>> = {}): Promise<Installation> {
  const redisServer = env['REDIS_URL'] === undefined ? await startTestRedis() : undefined;
  const redisUrl = redisServer?.url ?? env['REDIS_URL'] ?? '';
  const mysqlUrl = env['MYSQL_URL'] ?? (await createTestDatabase()).url;
  const settings = readSettings({
    SHARD_COUNT: '4',
    STAMPEDE_DIR: await makeScratchFolder('installation'),
    ...env,
    REDIS_URL: redisUrl,
    MYSQL_URL: mysqlUrl,
  });
  await migrate(mysqlUrl);
  const log = createLog('test', process.env['TEST_LOG_LEVEL'] ?? 'silent');
  const redis = connectRedis(redisUrl, { kind: 'request', commandTimeoutMs: READ_LIMIT_MS }, log);
  const mysql = createMysqlPool(mysqlUrl, 2);
  atEndOfFile(async () => {
    redis.disconnect();
    await mysql.end();
  });
  await whenRedisReady(redis, READY_TIMEOUT_MS);

  return {
    settings,
    log,
    get redisServer() {
      if (redisServer === undefined) throw new Error('the test has brought its own Redis');
      return redisServer;
    },
    redis,
    mysql,
    startLedger: async (name = 'ledger-1', metrics = new Metrics({ name, role: 'ledger', log }), unready = []) => {
      const actor = createLedger(actorContext(name, settings, log, metrics));
      let drained: Promise<void> | undefined;
      const drain = (limitMs = READY_TIMEOUT_MS): Promise<void> => (drained ??= actor.drain(Date.now() + limitMs));
      atEndOfFile(() => drain());
      await actor.start();
      await whenUnready(actor, name, unready);
      return { drain, unreadyReasons: () => actor.unreadyReasons() };
    },
    startClaims: async (own = {}, metrics = new Metrics({ name: 'http-1', role: 'http', log }), unready = []) => {
      const claims = createClaimService({
        ...{ name: 'http-1', settings: { ...settings, ...own }, log },
        metrics: new ClaimMetrics(metrics),
      });
      await startUntilEnd(claims);
      await whenUnready(claims, 'the claim service', unready);
      // Ready is who may send claims of one shard; a test's coupon may be of another.
      if (unready.length === 0) await claims.whenOpen(REST_PATIENCE);
      return awaited(claims);
    },
    startCoupons: async () => {
      const coupons = createCoupons({ settings, log });
      await startUntilEnd(coupons);
      await whenUnready(coupons, 'the coupons', []);
      return coupons;
    },
    claimRows: async (couponId) => {
      const [rows] = await mysql.query<RowDataPacket[]>(
        'SELECT claim_no, user_id FROM coupon_claim_log WHERE coupon_id = ? ORDER BY claim_no',
        [couponId],
      );
      return rows.map((row) => ({ claimNo: Number(row['claim_no']), userId: String(row['user_id']) }));
    },
    outboxEntries: async () => {
      const keys = Array.from({ length: settings.shardCount }, (_, shard) => outboxKey(shard));
      return (await readOutboxes(redis, keys)).length;
    },
  };
}

const READ_LIMIT_MS = 10_000;
/** For shards that open as the others have, not for those that a test keeps closed. */
const REST_PATIENCE = { firstMs: 2_000, restMs: 2_000 };

/** For an actor that runs in the test's own process. */
export function actorContext(name: string, settings: Settings, log: Log, metrics: Metrics): ActorContext {
  const fail = (error: unknown): void => {
    throw error;
  };
  const cluster = { processes: () => Promise.resolve([]), metrics: () => Promise.resolve([]) };
  return { name, settings, log, metrics, cluster, fail };
}

async function startUntilEnd(part: { start(): Promise<void>; stop(deadline?: number): Promise<void> }): Promise<void> {
  let stopped: Promise<void> | undefined;
  const stop = part.stop.bind(part);
  part.stop = (deadline) => (stopped ??= stop(deadline));
  atEndOfFile(() => part.stop());
  await part.start();
}

/** No reasons: ready. */
async function whenUnready(
  part: { unreadyReasons(): string[] },
  what: string,
  reasons: readonly string[],
): Promise<void> {
  await waitFor(() => part.unreadyReasons().join() === reasons.join(), {
    what: `${what} to be ${reasons.length === 0 ? 'ready' : reasons.join()}`,
    timeoutMs: READY_TIMEOUT_MS,
  });
}
