// The part `drain`: how fast the ledger takes a full outbox to MySQL, against mysql2 alone. A lock on the shard's row, which
// every batch of the ledger shares, holds the ledger back while claims are made; when it is let go, the clock runs until the
// outbox is empty. In turns with it mysql2 alone inserts as many rows of the same size over one connection into the
// same server (MultiRowInsert): one coupon is one shard, and a shard writes one batch at a time.
import { setTimeout as delay } from 'node:timers/promises';
import { outboxKey, shardOf } from '../coupons/keys.js';
import type { RawEntry } from '../coupons/outbox.js';
import { parseEntry } from '../coupons/outbox.js';
import type { Connection } from '../platform/mysql.js';
import { connectMysql } from '../platform/mysql.js';
import type { Redis } from '../platform/redis.js';
import { connectRedis, whenRedisReady } from '../platform/redis.js';
import { auditProblems } from './audit.js';
import { complaintsOf, LoadGenerator } from './load-generator.js';
import { MultiRowInsert } from './multi-row-insert.js';
import type { Part, PartContext, PartResult } from './part.js';
import type { Service } from './service.js';
import { firstRound } from './rounds.js';
import { PATIENT, SHARD_COUNT, startService } from './service.js';
import type { CpuMicros } from './service-cpu.js';
import { cpuMicrosByKind, cpuMicrosPer, microsOf } from './service-cpu.js';
import type { Stoppable } from './started.js';
import { stoppingAll } from './started.js';
import type { Spread } from './statistics.js';
import { spreadOf } from './statistics.js';

const SCALES = { full: { rows: 100_000 }, short: { rows: 4_000 } } as const;

/** Of mysql2 alone. It is no faster with more (part `raw`). */
const ROWS_PER_STATEMENT = 2_000;
/** The outbox is filled by the batch endpoint: how is not measured, and the ledger is held back no longer than it has to be. */
const CLAIMS_PER_REQUEST = 500;
const CONNECTIONS = 4;
const USER_PREFIX = 'user-';
const LOOK_INTERVAL_MS = 5;
const ENTRIES_PER_READ = 1_000;
const DRAIN_TIMEOUT_MS = 120_000;
const REDIS_REQUESTS = { kind: 'request', commandTimeoutMs: 5_000 } as const;

interface Measured {
  readonly rowsPerSecond: number;
  /** Per row, of everybody that works for the ledger. */
  readonly cpuMicros: CpuMicros;
}

interface Round {
  readonly drained: Measured;
  /** By mysql2 alone. */
  readonly inserted: Measured;
}

export const DRAIN: Part = {
  name: 'drain',
  description: 'rows per second of the ledger with a full outbox, against mysql2 inserting alone',
  minutes: 1,
  measure: async (context) =>
    await stoppingAll(async (keep) => {
      const { rows } = SCALES[context.scale];
      context.report('starting a service');
      // A coupon may run ahead of MySQL by all claims that are made while the ledger is held back.
      const environment = { ...PATIENT, LEDGER_WINDOW: String(2 * rows) };
      const service = keep(await startService({ ...context, environment }));
      const load = keep(new LoadGenerator(context.signal));
      const redis = connectRedis(service.databaseUrls.REDIS_URL, REDIS_REQUESTS, context.log);
      keep({
        stop: () => {
          redis.disconnect();
          return Promise.resolve();
        },
      });
      await whenRedisReady(redis, REDIS_REQUESTS.commandTimeoutMs);
      const holding = keep(await connect(service));
      const inserting = keep(await connect(service));
      const bench = new DrainBench({ service, load, redis, holding: holding.connection, signal: context.signal });
      const alone = new MultiRowInsert([inserting.connection]);

      const measured: Round[] = [];
      for (let round = firstRound(context); round <= context.rounds; round++) {
        context.report(round === 0 ? 'warming up' : `round ${round} of ${context.rounds}`);
        const couponId = `drain-${round}`;
        await bench.fill(couponId, rows);
        const drained = await bench.drain(couponId);
        await alone.createTable();
        const inserted = await bench.perRow(
          rows,
          async () => await alone.run(couponId, USER_PREFIX, rows, ROWS_PER_STATEMENT),
        );
        if (round > 0) measured.push({ drained, inserted });
      }
      const problems = [...bench.problems, ...(await auditProblems(service, bench.claims))];
      return resultOf(context, rows, measured, problems);
    }),
};

async function connect(service: Service): Promise<Stoppable & { readonly connection: Connection }> {
  const connection = await connectMysql(service.databaseUrls.MYSQL_URL, { queryTimeoutMs: DRAIN_TIMEOUT_MS });
  return { connection, stop: () => connection.end() };
}

interface DrainOptions {
  readonly service: Service;
  readonly load: LoadGenerator;
  readonly redis: Redis;
  /** Holds the lock. */
  readonly holding: Connection;
  readonly signal: AbortSignal;
}

class DrainBench {
  readonly problems: string[] = [];
  /** That were made so far. */
  claims = 0;
  readonly #options: DrainOptions;

  constructor(options: DrainOptions) {
    this.#options = options;
  }

  /** Makes claims while nothing can be written, and leaves it so. */
  async fill(couponId: string, rows: number): Promise<void> {
    const { service, load, holding } = this.#options;
    await service.createCoupon(couponId, rows);
    await service.databases.whenWritten();
    await holding.query('START TRANSACTION');
    await holding.query('SELECT epoch FROM shard WHERE shard = ? FOR UPDATE', [shardOf(couponId, SHARD_COUNT)]);
    const job = { url: service.url, couponId, userPrefix: USER_PREFIX, requests: rows };
    await load.connect({ ...job, batch: CLAIMS_PER_REQUEST, connections: CONNECTIONS });
    this.problems.push(...complaintsOf(couponId, await load.go(), '200 claimed'));
    this.claims += rows;
  }

  /** Lets the ledger write. Counts from its first batch: it may be pausing between two attempts when the lock is let go. */
  async drain(couponId: string): Promise<Measured> {
    const { redis, holding, signal } = this.#options;
    const outbox = outboxKey(shardOf(couponId, SHARD_COUNT));
    const claims = await claimsPerEntry(redis, outbox);
    await holding.query('COMMIT');
    const deadline = performance.now() + DRAIN_TIMEOUT_MS;
    const whenBelow = async (limit: number): Promise<number> => {
      for (;;) {
        const entries = await redis.xlen(outbox);
        if (entries < limit) return entries;
        if (performance.now() > deadline) throw new Error(`the outbox was not empty within ${DRAIN_TIMEOUT_MS} ms`);
        await delay(LOOK_INTERVAL_MS, undefined, { signal });
      }
    };
    // Entries leave in the order of the stream.
    const entries = await whenBelow(claims.length);
    const left = claims.slice(claims.length - entries).reduce((sum, one) => sum + one, 0);
    return await this.perRow(left, async () => {
      const startedAt = performance.now();
      await whenBelow(1);
      return left / ((performance.now() - startedAt) / 1_000);
    });
  }

  /** `work` resolves with rows per second. */
  async perRow(rows: number, work: () => Promise<number>): Promise<Measured> {
    const { ledger, redis, mariadb } = this.#options.service.pids;
    const before = cpuMicrosByKind({ ledger, redis, mariadb });
    const rowsPerSecond = await work();
    return { rowsPerSecond, cpuMicros: cpuMicrosPer(rows, before, cpuMicrosByKind({ ledger, redis, mariadb })) };
  }
}

/** How many claims each entry of an outbox holds, in order. */
async function claimsPerEntry(redis: Redis, outbox: string): Promise<number[]> {
  const claims: number[] = [];
  for (let after = '-'; ;) {
    const page = (await redis.xrange(outbox, after, '+', 'COUNT', ENTRIES_PER_READ)) as RawEntry[];
    const last = page.at(-1);
    if (last === undefined) return claims;
    claims.push(...page.map((raw) => parseEntry(raw).length));
    after = `(${last[0]}`;
  }
}

function resultOf(
  { rounds: count }: PartContext,
  rows: number,
  rounds: readonly Round[],
  problems: readonly string[],
): PartResult {
  const over = (value: (round: Round) => number): Spread => spreadOf(rounds.map(value));
  const both = (title: string, digits: number, value: (measured: Measured) => number) => ({
    title,
    digits,
    cells: [over(({ drained }) => value(drained)), over(({ inserted }) => value(inserted))],
  });
  return {
    tables: [
      {
        title: `A full outbox of ${rows} claims of one coupon`,
        columns: ['the ledger drains it', 'mysql2 inserts as many rows'],
        rows: [
          both('rows per second', 0, ({ rowsPerSecond }) => rowsPerSecond),
          both('ledger, µs of CPU per row', 1, ({ cpuMicros }) => microsOf(cpuMicros, 'ledger')),
          both('Redis, µs of CPU per row', 1, ({ cpuMicros }) => microsOf(cpuMicros, 'redis')),
          both('MariaDB, µs of CPU per row', 1, ({ cpuMicros }) => microsOf(cpuMicros, 'mariadb')),
        ],
        notes: [
          `${count} rounds in turns; mysql2: ${ROWS_PER_STATEMENT} rows a statement; one connection, the same server and the same keys.`,
          'The ledger also reads the outbox, raises ceilings and takes the entries out of the outbox.',
        ],
      },
    ],
    pictures: [
      {
        name: 'drain',
        title: 'Rows per second into MySQL',
        kind: 'bars',
        x: { title: '' },
        y: { title: 'rows per second' },
        points: [
          { series: 'rows per second', x: 'ledger', y: over(({ drained }) => drained.rowsPerSecond) },
          { series: 'rows per second', x: 'mysql2 alone', y: over(({ inserted }) => inserted.rowsPerSecond) },
        ],
      },
    ],
    findings: [
      {
        target: 'drainAgainstMysql',
        value: over(({ drained, inserted }) => drained.rowsPerSecond / inserted.rowsPerSecond),
      },
    ],
    problems,
    raw: rounds,
  };
}
