// The part `cluster`: how claims spread over a Redis Cluster of three masters. Shards are spread by their slots, and coupons
// over shards by their ids, so many coupons use all masters and one coupon uses one. Claims are made for many coupons, then for
// one, through the whole service, and each master says what it has done: receipts that it holds, script calls, CPU time. The
// machine's cores are shared by all, so this shows the spreading, not what three machines could do.
import { randomBytes } from 'node:crypto';
import { couponKeys, fenceKey, shardOf } from '../coupons/keys.js';
import { findFreePort } from '../platform/embedded/free-port.js';
import type { Redis, RedisServer } from '../platform/redis.js';
import { connectRedis, isCluster, serverOf, whenRedisReady } from '../platform/redis.js';
import type { JoiningNode } from '../verify/redis-cluster.js';
import { joinCluster, nodeConfiguration } from '../verify/redis-cluster.js';
import { auditProblems } from './audit.js';
import { redisCpuMicrosIn } from './cpu.js';
import { scriptCallsIn } from './databases.js';
import { complaintsOf, LoadGenerator } from './load-generator.js';
import type { Part, PartContext, PartResult, ResultTable } from './part.js';
import { startPrivateRedis } from './private-servers.js';
import { firstRound } from './rounds.js';
import type { Service } from './service.js';
import { PATIENT, startService } from './service.js';
import type { Stoppable } from './started.js';
import { stoppingAll } from './started.js';
import type { Spread } from './statistics.js';
import { spreadOf } from './statistics.js';

const SCALES = {
  // More shards than the default: the more there are, the more evenly they are spread.
  full: { shards: 64, coupons: 120, claims: 30_000 },
  short: { shards: 16, coupons: 12, claims: 600 },
} as const;
type Scale = (typeof SCALES)[keyof typeof SCALES];

const MASTERS = 3;
const CONNECTIONS = 256;
const REDIS_REQUESTS = { kind: 'request', commandTimeoutMs: 10_000 } as const;

/** Of one master while one load was served. */
interface Done {
  readonly claims: number;
  readonly scriptCalls: number;
  readonly cpuMicros: number;
}

interface Round {
  /** By master. */
  readonly many: readonly Done[];
  readonly one: readonly Done[];
}

export const CLUSTER: Part = {
  name: 'cluster',
  description: 'how claims for many coupons, and for one, spread over a Redis Cluster of three masters',
  minutes: 1,
  measure: async (context) =>
    await stoppingAll(async (keep) => {
      const scale = SCALES[context.scale];
      context.report(`starting a Redis Cluster of ${MASTERS} masters and a service`);
      const { nodes, url } = await startMasters(context, keep);
      const service = keep(
        await startService({
          ...context,
          environment: { ...PATIENT, REDIS_URL: url, SHARD_COUNT: String(scale.shards) },
        }),
      );
      const load = keep(new LoadGenerator(context.signal));
      const redis = connectRedis(url, REDIS_REQUESTS, context.log);
      keep(disconnecting(redis));
      await whenRedisReady(redis, REDIS_REQUESTS.commandTimeoutMs);
      const bench = new ClusterBench({ service, load, redis, nodes, scale });

      const rounds: Round[] = [];
      for (let round = firstRound(context); round <= context.rounds; round++) {
        context.report(round === 0 ? 'warming up' : `round ${round} of ${context.rounds}`);
        const measured: Round = { many: await bench.many(`many-${round}`), one: await bench.one(`one-${round}`) };
        if (round > 0) rounds.push(measured);
      }
      const problems = [...bench.problems, ...spreadProblems(rounds), ...(await auditProblems(service, bench.claims))];
      return resultOf(context, bench.shardsByMaster(), rounds, problems);
    }),
};

async function startMasters(context: PartContext, keep: <S extends Stoppable>(one: S) => S) {
  const password = randomBytes(16).toString('hex');
  const joining: (JoiningNode & { readonly url: string })[] = [];
  for (let number = 0; number < MASTERS; number++) {
    const busPort = await findFreePort();
    const { url, port } = keep(
      await startPrivateRedis({ password, more: nodeConfiguration(password, busPort) }, context),
    );
    const redis = connectRedis(url, REDIS_REQUESTS, context.log);
    keep(disconnecting(redis));
    if (isCluster(redis)) throw new Error('one URL names one server');
    await whenRedisReady(redis, REDIS_REQUESTS.commandTimeoutMs);
    joining.push({ redis, port, busPort, url });
  }
  await joinCluster(joining, MASTERS);
  return { nodes: joining, url: joining.map(({ url }) => url).join(',') };
}

function disconnecting(redis: Redis): Stoppable {
  return {
    stop: () => {
      redis.disconnect();
      return Promise.resolve();
    },
  };
}

interface ClusterBenchOptions {
  readonly service: Service;
  readonly load: LoadGenerator;
  /** The cluster. */
  readonly redis: Redis;
  readonly nodes: readonly JoiningNode[];
  readonly scale: Scale;
}

class ClusterBench {
  readonly problems: string[] = [];
  /** That were made so far. */
  claims = 0;
  readonly #options: ClusterBenchOptions;

  constructor(options: ClusterBenchOptions) {
    this.#options = options;
  }

  async many(name: string): Promise<Done[]> {
    const { coupons, claims } = this.#options.scale;
    const couponIds = Array.from({ length: coupons }, (_, number) => `${name}-${number}`);
    return await this.#measure(couponIds, { couponId: name, coupons, requests: claims });
  }

  async one(couponId: string): Promise<Done[]> {
    return await this.#measure([couponId], { couponId, requests: this.#options.scale.claims });
  }

  /** How many shards each master has. */
  shardsByMaster(): number[] {
    const masters = Array.from({ length: this.#options.scale.shards }, (_, shard) => this.#masterOf(shard));
    return this.#options.nodes.map((_, master) => masters.filter((one) => one === master).length);
  }

  async #measure(
    couponIds: readonly string[],
    job: { couponId: string; coupons?: number; requests: number },
  ): Promise<Done[]> {
    const { service, load, nodes } = this.#options;
    for (const couponId of couponIds) await service.createCoupon(couponId, job.requests);
    await service.databases.whenWritten();
    await load.connect({ ...job, url: service.url, userPrefix: 'user-', connections: CONNECTIONS });
    const before = await Promise.all(nodes.map(({ redis }) => readCounters(redis)));
    const result = await load.go();
    await service.databases.whenWritten();
    const after = await Promise.all(nodes.map(({ redis }) => readCounters(redis)));
    this.problems.push(...complaintsOf(job.couponId, result, '201 claimed'));
    this.claims += job.requests;
    const claims = await this.#receiptsByMaster(couponIds);
    return nodes.map((_, master) => ({
      claims: claims[master] ?? 0,
      scriptCalls: (after[master]?.scriptCalls ?? 0) - (before[master]?.scriptCalls ?? 0),
      cpuMicros: (after[master]?.cpuMicros ?? 0) - (before[master]?.cpuMicros ?? 0),
    }));
  }

  /** Counted where they are: each master is asked for the coupons that it has. */
  async #receiptsByMaster(couponIds: readonly string[]): Promise<number[]> {
    const { nodes } = this.#options;
    const counts = nodes.map(() => 0);
    for (const couponId of couponIds) {
      const shard = shardOf(couponId, this.#options.scale.shards);
      const master = this.#masterOf(shard);
      // A node that does not have the slot answers MOVED, which is an error.
      const receipts = (await nodes[master]?.redis.hlen(couponKeys(shard, couponId).claimedUser)) ?? 0;
      counts[master] = (counts[master] ?? 0) + receipts;
    }
    return counts;
  }

  #masterOf(shard: number): number {
    const { redis, nodes } = this.#options;
    const port = serverOf(redis, fenceKey(shard))?.options.port;
    return nodes.findIndex((node) => node.port === port);
  }
}

async function readCounters(redis: RedisServer): Promise<Pick<Done, 'scriptCalls' | 'cpuMicros'>> {
  return {
    scriptCalls: scriptCallsIn(await redis.info('commandstats')),
    cpuMicros: redisCpuMicrosIn(await redis.info('cpu')),
  };
}

function spreadProblems(rounds: readonly Round[]): string[] {
  const problems: string[] = [];
  if (rounds.some(({ many }) => many.some(({ claims }) => claims === 0))) {
    problems.push('a master had no claim of many coupons');
  }
  if (rounds.some(({ one }) => one.filter(({ claims }) => claims > 0).length !== 1)) {
    problems.push('the claims of one coupon were not on one master');
  }
  return problems;
}

function resultOf(
  { rounds: count, scale }: PartContext,
  shards: readonly number[],
  rounds: readonly Round[],
  problems: readonly string[],
): PartResult {
  const { coupons, claims, shards: shardCount } = SCALES[scale];
  const masters = shards.map((_, master) => master);
  /** In percent of all masters. The busiest first where the load is one coupon, which is on another master in each round. */
  const share = (kind: keyof Round, what: keyof Done, place: number): Spread =>
    spreadOf(
      rounds.map((round) => {
        const done = kind === 'one' ? round.one.toSorted((a, b) => b.claims - a.claims) : round.many;
        const sum = done.reduce((total, one) => total + one[what], 0);
        // Nobody did anything: claims that were refused are complained of elsewhere.
        return (100 * (done[place]?.[what] ?? 0)) / Math.max(1, sum);
      }),
    );
  const rowsOf = (kind: keyof Round): ResultTable['rows'] => [
    { title: 'claims held, %', digits: 1, cells: masters.map((place) => share(kind, 'claims', place)) },
    { title: 'script calls, %', digits: 1, cells: masters.map((place) => share(kind, 'scriptCalls', place)) },
    { title: 'CPU time, %', digits: 1, cells: masters.map((place) => share(kind, 'cpuMicros', place)) },
  ];
  const series = { claims: 'claims held', scriptCalls: 'script calls', cpuMicros: 'CPU time' } as const;
  return {
    tables: [
      {
        title: `${claims} claims for ${coupons} coupons, ${shardCount} shards`,
        columns: masters.map((master) => `master ${master + 1}`),
        rows: [{ title: 'shards', digits: 0, cells: shards }, ...rowsOf('many')],
        notes: [`Rounds: ${count}. Shares of what all masters did.`],
      },
      {
        title: `${claims} claims for one coupon`,
        columns: ['its master', ...masters.slice(1).map(() => 'another master')],
        rows: rowsOf('one'),
        notes: [
          'What the others do is looking after their shards: each is looked at four times a second, whether claims come or not.',
        ],
      },
    ],
    pictures: [
      {
        name: 'cluster',
        title: 'A Redis Cluster of three masters: who does how much',
        kind: 'bars',
        x: { title: '' },
        y: { title: '% of all masters' },
        points: (['many', 'one'] as const).flatMap((kind) =>
          masters.flatMap((place) =>
            (['claims', 'scriptCalls', 'cpuMicros'] as const).map((what) => ({
              series: series[what],
              x: kind === 'many' ? `many coupons, master ${place + 1}` : oneTitle(place),
              y: share(kind, what, place),
            })),
          ),
        ),
      },
    ],
    findings: [],
    problems,
    raw: rounds,
  };
}

function oneTitle(place: number): string {
  return place === 0 ? 'one coupon, its master' : `one coupon, another (${place})`;
}
