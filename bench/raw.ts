// The part `raw`: what Redis and MariaDB can do with nothing of ours before them. The claim script alone, called by
// redis-benchmark (Debian's redis-tools), which is written in C and takes less of the machine than a client in Node, with batches
// of several sizes; and multi-row inserts by mysql2 alone, with statements of several sizes. No service takes part.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { encodeClaims } from '../cluster/claims/claim-call.js';
import { PendingClaim } from '../cluster/claims/mailbox.js';
import { couponKeys } from '../coupons/keys.js';
import { loadScripts } from '../lua/scripts.js';
import { REDIS_PACKAGE } from '../platform/embedded/debian-packages.js';
import { thisMachine } from '../platform/embedded/executables.js';
import { provideProgram } from '../platform/embedded/provide-program.js';
import { connectMysql } from '../platform/mysql.js';
import type { Redis } from '../platform/redis.js';
import { connectRedis, whenRedisReady } from '../platform/redis.js';
import { migrate } from '../workers/migrations/migrate.js';
import { MultiRowInsert } from './multi-row-insert.js';
import type { Part, PartContext, PartResult } from './part.js';
import type { PrivateServer } from './private-servers.js';
import { startPrivateMariadb, startPrivateRedis } from './private-servers.js';
import { EPOCH, openShard, SHARD } from './scripts.js';
import { stoppingAll } from './started.js';
import type { Spread } from './statistics.js';
import { spreadOf } from './statistics.js';

const SCALES = {
  full: { claims: 100_000, calls: 20_000, rows: 100_000, statements: 500 },
  short: { claims: 1_024, calls: 1_024, rows: 2_000, statements: 20 },
} as const;
type Scale = (typeof SCALES)[keyof typeof SCALES];

const BATCH_SIZES = [1, 16, 64, 256] as const;
const PERSISTENCE = ['always', 'none'] as const;
type Persistence = (typeof PERSISTENCE)[number];
const PERSISTENCE_TITLE: Readonly<Record<Persistence, string>> = {
  always: 'appendfsync always',
  none: 'nothing on disk',
};
const ROWS_PER_STATEMENT = [1, 20, 200, 2_000, 10_000] as const;

/** Waiting at any time, in smaller or larger batches: more than one flush of the append-only file takes along. */
const CLAIMS_IN_FLIGHT = 512;
/** redis-benchmark draws users from so many: nearly all are new. The largest that it takes. */
const USERS = 2_147_483_647;
/** Share of claims that may have met a user who was drawn before. */
const REPEATS_MAX = 0.001;
const BENCHMARK_TIMEOUT_MS = 120_000;
const REDIS_REQUESTS = { kind: 'request', commandTimeoutMs: 10_000 } as const;
const COUPON = 'sale';

interface Round {
  /** Claims per second. */
  readonly script: readonly {
    readonly persistence: Persistence;
    readonly batchSize: number;
    readonly perSecond: number;
  }[];
  readonly insert: readonly { readonly rowsPerStatement: number; readonly perSecond: number }[];
}

export const RAW: Part = {
  name: 'raw',
  description: 'the claim script by redis-benchmark and multi-row inserts by mysql2, each alone',
  minutes: 1,
  measure: async (context) =>
    await stoppingAll(async (keep) => {
      const scale = SCALES[context.scale];
      context.report('starting two Redis and a MariaDB');
      const always = keep(await startPrivateRedis({}, context));
      const none = keep(await startPrivateRedis({ persistence: false }, context));
      const mariadb = keep(await startPrivateMariadb(context));
      await migrate(mariadb.url, () => undefined);
      const connection = await connectMysql(mariadb.url);
      keep({ stop: () => connection.end() });
      const redis = { always: new ScriptAlone(always, context), none: new ScriptAlone(none, context) };
      for (const one of Object.values(redis)) keep(one);

      const rounds: Round[] = [];
      for (let round = 0; round <= context.rounds; round++) {
        context.report(round === 0 ? 'warming up' : `round ${round} of ${context.rounds}`);
        const measured: Round = {
          script: await measureScript(redis, scale),
          insert: await measureInsert(new MultiRowInsert([connection]), scale),
        };
        if (round > 0) rounds.push(measured);
      }
      return resultOf(
        context,
        rounds,
        Object.values(redis).flatMap(({ problems }) => problems),
      );
    }),
};

async function measureScript(redis: Readonly<Record<Persistence, ScriptAlone>>, scale: Scale) {
  const measured: Round['script'][number][] = [];
  for (const batchSize of BATCH_SIZES) {
    for (const persistence of PERSISTENCE) {
      const perSecond = await redis[persistence].claimsPerSecond(
        batchSize,
        Math.min(scale.claims, scale.calls * batchSize),
      );
      measured.push({ persistence, batchSize, perSecond });
    }
  }
  return measured;
}

async function measureInsert(alone: MultiRowInsert, scale: Scale) {
  const measured: Round['insert'][number][] = [];
  for (const rowsPerStatement of ROWS_PER_STATEMENT) {
    await alone.createTable();
    const rows = Math.min(scale.rows, scale.statements * rowsPerStatement);
    measured.push({ rowsPerStatement, perSecond: await alone.run(COUPON, 'user-', rows, rowsPerStatement) });
  }
  return measured;
}

class ScriptAlone {
  readonly problems: string[] = [];
  readonly #server: PrivateServer;
  readonly #context: PartContext;
  readonly #redis: Redis;
  readonly #scripts = loadScripts();

  constructor(server: PrivateServer, context: PartContext) {
    this.#server = server;
    this.#context = context;
    this.#redis = connectRedis(server.url, REDIS_REQUESTS, context.log);
  }

  /** Of new users for one coupon, on an empty Redis. */
  async claimsPerSecond(batchSize: number, claims: number): Promise<number> {
    await whenRedisReady(this.#redis, REDIS_REQUESTS.commandTimeoutMs);
    const calls = Math.ceil(claims / batchSize);
    await openShard(this.#redis, this.#scripts, 2 * calls * batchSize);
    await this.#redis.script('LOAD', this.#scripts.claim.source);
    // As the service encodes it; redis-benchmark puts another number in place of each mark.
    const batch = Array.from(
      { length: batchSize },
      () => new PendingClaim(COUPON, 'user-__rand_int__', Infinity, () => undefined),
    );
    const { keys, args } = encodeClaims(SHARD, EPOCH, batch);
    const connections = Math.max(1, Math.floor(CLAIMS_IN_FLIGHT / batchSize));
    const callsPerSecond = await this.#benchmark(
      ...['-n', calls, '-c', connections, '-r', USERS, '-q'],
      ...['EVALSHA', this.#scripts.claim.sha1, keys.length, ...keys, ...args],
    );
    const granted = await this.#redis.hlen(couponKeys(SHARD, COUPON).claimedUser);
    if (granted < calls * batchSize * (1 - REPEATS_MAX)) {
      this.problems.push(`batches of ${batchSize}: ${granted} of ${calls * batchSize} claims were granted`);
    }
    return callsPerSecond * batchSize;
  }

  stop(): Promise<void> {
    this.#redis.disconnect();
    return Promise.resolve();
  }

  /** Requests per second, as redis-benchmark tells them. */
  async #benchmark(...args: readonly (string | number)[]): Promise<number> {
    const path = await provideProgram({
      ...this.#context,
      ...{ names: ['redis-benchmark'], debianPackage: REDIS_PACKAGE, machine: thisMachine() },
    });
    const { port, url } = this.#server;
    // Its password is in its arguments for everybody to see: a server of this measurement's own, with nothing in it.
    const access = ['-h', '127.0.0.1', '-p', String(port), '-a', decodeURIComponent(new URL(url).password)];
    const child = spawn(path, [...access, ...args.map(String)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      signal: AbortSignal.any([this.#context.signal, AbortSignal.timeout(BENCHMARK_TIMEOUT_MS)]),
    });
    const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
    const perSecond = [...output.matchAll(/([\d.]+) requests per second/g)].at(-1)?.[1];
    if (child.exitCode !== 0 || perSecond === undefined) {
      throw new Error(`redis-benchmark failed: ${errors.trim() || output.trim().slice(-200)}`);
    }
    return Number(perSecond);
  }
}

function resultOf({ rounds: count }: PartContext, rounds: readonly Round[], problems: readonly string[]): PartResult {
  const claims = (persistence: Persistence, batchSize: number): Spread =>
    spreadOf(
      rounds
        .flatMap(({ script }) => script)
        .filter((one) => one.persistence === persistence && one.batchSize === batchSize)
        .map(({ perSecond }) => perSecond),
    );
  const rows = (rowsPerStatement: number): Spread =>
    spreadOf(
      rounds
        .flatMap(({ insert }) => insert)
        .filter((one) => one.rowsPerStatement === rowsPerStatement)
        .map(({ perSecond }) => perSecond),
    );
  return {
    tables: [
      {
        title: 'The claim script alone, by redis-benchmark: claims per second of one coupon',
        columns: BATCH_SIZES.map((size) => `batches of ${size}`),
        rows: PERSISTENCE.map((persistence) => ({
          title: PERSISTENCE_TITLE[persistence],
          digits: 0,
          cells: BATCH_SIZES.map((size) => claims(persistence, size)),
        })),
        notes: [
          `${count} rounds; ${CLAIMS_IN_FLIGHT} claims of new users wait at any time. Nobody takes the outbox away.`,
        ],
      },
      {
        title: 'Multi-row inserts alone, by mysql2 over one connection: rows per second',
        columns: ROWS_PER_STATEMENT.map((size) => `${size} a statement`),
        rows: [{ title: 'rows per second', digits: 0, cells: ROWS_PER_STATEMENT.map(rows) }],
        notes: ['Into a table with the keys of coupon_claim_log; each statement is a transaction on the disk.'],
      },
    ],
    pictures: [
      {
        name: 'raw-script',
        title: 'The claim script alone',
        kind: 'lines',
        x: { title: 'claims in a batch', logarithmic: true },
        y: { title: 'claims per second' },
        points: PERSISTENCE.flatMap((persistence) =>
          BATCH_SIZES.map((x) => ({ series: PERSISTENCE_TITLE[persistence], x, y: claims(persistence, x) })),
        ),
      },
      {
        name: 'raw-insert',
        title: 'Multi-row inserts alone',
        kind: 'lines',
        x: { title: 'rows in a statement', logarithmic: true },
        y: { title: 'rows per second' },
        points: ROWS_PER_STATEMENT.map((x) => ({ series: 'mysql2', x, y: rows(x) })),
      },
    ],
    findings: [],
    problems,
    raw: rounds,
  };
}
