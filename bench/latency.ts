// The part `latency`: how long users wait for an accepted claim. First the peak is found, by connections that ask again when
// they are answered, at each acknowledgement level; the peak is what the whole service can keep up, rows in MySQL included.
// Then claims are offered at shares of it by a generator that waits for nobody and corrects for coordinated omission
// (open-loop.ts), at the level that coupons have by themselves.
//
// At the peak itself an open loop says little: what comes as fast as it is served waits the longer, the longer it is measured.
// The levels are therefore compared by the connections that make the peak, where each claim waits for a fixed number of others.
import { auditProblems } from './audit.js';
import { Child } from './child.js';
import { complaintsOf, LoadGenerator } from './load-generator.js';
import type { OpenLoopOffer, OpenLoopOutcome } from './open-loop-job.js';
import type { Part, PartContext, PartResult, Picture } from './part.js';
import type { AtPeak } from './peak.js';
import { measurePeak } from './peak.js';
import type { ReplicaRound } from './replica-level.js';
import { LEVELS_BESIDE_REPLICA, measureReplicaLevel } from './replica-level.js';
import { firstRound } from './rounds.js';
import type { Service } from './service.js';
import { PATIENT, startService } from './service.js';
import { stoppingAll } from './started.js';
import type { Spread } from './statistics.js';
import { spreadOf } from './statistics.js';

const SCALES = {
  full: { peakClaims: 30_000, connections: 256, openConnections: 1_000, warmUpMs: 1_000, countedMs: 3_000 },
  short: { peakClaims: 300, connections: 64, openConnections: 100, warmUpMs: 50, countedMs: 200 },
} as const;
type Scale = (typeof SCALES)[keyof typeof SCALES];

/** Of the service with one Redis; `replica` is measured on another (replica-level.ts). */
const LEVELS = ['redis', 'fsync', 'ledger'] as const;
type Level = (typeof LEVELS)[number];
/** The default where Redis runs as the embedded one does. */
const USUAL_LEVEL: Level = 'fsync';

const SHARES = [0.25, 0.5, 0.75, 0.9, 1] as const;
type Share = (typeof SHARES)[number];
const HALF: Share = 0.5;

const PERCENTILES = { p50: 'p50', p90: 'p90', p99: 'p99', p999: 'p99.9' } as const;
const PERCENTILE_KEYS = ['p50', 'p90', 'p99', 'p999'] as const;

/** What the generator may be late before anybody asks whether it was the limit. */
const LAG_MAX_MS = 5;
/** Longer than the generator waits for its last answers. */
const OFFER_TIMEOUT_MS = 120_000;

interface Round {
  readonly peak: Readonly<Record<Level, AtPeak>>;
  readonly shares: readonly { readonly share: Share; readonly outcome: OpenLoopOutcome }[];
}

export const LATENCY: Part = {
  name: 'latency',
  description: 'percentiles of accepted claims at shares of the peak, and the acknowledgement levels at the peak',
  minutes: 3,
  measure: async (context) => {
    const { rounds, problems } = await measureShares(context);
    const { peakClaims: claims, connections } = SCALES[context.scale];
    const replica = await measureReplicaLevel(context, { claims, connections });
    return resultOf(context, rounds, replica.rounds, [...problems, ...replica.problems]);
  },
};

async function measureShares(context: PartContext): Promise<{ rounds: readonly Round[]; problems: readonly string[] }> {
  return await stoppingAll(async (keep) => {
    context.report('starting a service');
    const service = keep(await startService({ ...context, environment: PATIENT }));
    const load = keep(new LoadGenerator(context.signal));
    const crowd = keep(new Child({ script: 'open-loop', signal: context.signal }));
    const bench = new LatencyBench(SCALES[context.scale], service, load, crowd);
    const rounds: Round[] = [];
    for (let round = firstRound(context); round <= context.rounds; round++) {
      context.report(round === 0 ? 'warming up' : `round ${round} of ${context.rounds}`);
      const measured = await bench.round(round);
      if (round > 0) rounds.push(measured);
    }
    const problems = [...bench.problems, ...(await auditProblems(service, bench.claims))];
    // At the short scale no figure means anything, and neither does this one.
    if (context.scale === 'full') problems.push(...SHARES.flatMap((share) => lagComplaint(share, rounds)));
    return { rounds, problems };
  });
}

class LatencyBench {
  readonly problems: string[] = [];
  /** That were made so far. */
  claims = 0;
  readonly #scale: Scale;
  readonly #service: Service;
  readonly #load: LoadGenerator;
  readonly #crowd: Child;

  constructor(scale: Scale, service: Service, load: LoadGenerator, crowd: Child) {
    this.#scale = scale;
    this.#service = service;
    this.#load = load;
    this.#crowd = crowd;
  }

  async round(round: number): Promise<Round> {
    const peak = {
      redis: await this.#findPeak('redis', round),
      fsync: await this.#findPeak('fsync', round),
      ledger: await this.#findPeak('ledger', round),
    };
    const shares: { share: Share; outcome: OpenLoopOutcome }[] = [];
    for (const share of SHARES) {
      const outcome = await this.#offer(`open-${share * 100}-${round}`, share * peak[USUAL_LEVEL].writtenPerSecond);
      shares.push({ share, outcome });
    }
    return { peak, shares };
  }

  async #findPeak(ack: Level, round: number): Promise<AtPeak> {
    const { peakClaims: claims, connections } = this.#scale;
    const job = { couponId: `peak-${ack}-${round}`, ack, claims, connections };
    const { peak, complaints } = await measurePeak(this.#service, this.#load, job);
    this.#tell(complaints, claims);
    return peak;
  }

  async #offer(couponId: string, perSecond: number): Promise<OpenLoopOutcome> {
    const { openConnections, warmUpMs, countedMs } = this.#scale;
    const total = Math.floor(((warmUpMs + countedMs) / 1_000) * perSecond);
    await this.#service.createCoupon(couponId, total, USUAL_LEVEL);
    const offer: OpenLoopOffer = {
      ...{ url: this.#service.url, couponId, userPrefix: 'user-' },
      ...{ perSecond, connections: openConnections, warmUpMs, countedMs },
    };
    const outcome = (await this.#crowd.answer(OFFER_TIMEOUT_MS, offer)) as OpenLoopOutcome;
    this.#tell(complaintsOf(couponId, { ...outcome, failures: {} }, '201 claimed'), total);
    await this.#service.databases.whenWritten();
    return outcome;
  }

  #tell(complaints: readonly string[], claims: number): void {
    this.problems.push(...complaints);
    this.claims += claims;
  }
}

/** A generator that is late for half of what it measures has measured itself. */
export function lagComplaint(share: number, rounds: readonly Pick<Round, 'shares'>[]): string[] {
  const outcomes = rounds.flatMap(({ shares }) => shares.filter((one) => one.share === share));
  const lag = spreadOf(outcomes.map(({ outcome }) => outcome.lagMs.p99)).median;
  const latency = spreadOf(outcomes.map(({ outcome }) => outcome.acceptedMs.p99)).median;
  if (lag <= LAG_MAX_MS || lag <= latency / 2) return [];
  return [
    `at ${share} of the peak the load generator itself was ${lag.toFixed(0)} of ${latency.toFixed(0)} ms late (p99): ` +
      'this machine has no time for it',
  ];
}

function resultOf(
  { rounds: count }: PartContext,
  rounds: readonly Round[],
  besideReplica: readonly ReplicaRound[],
  problems: readonly string[],
): PartResult {
  const over = (value: (round: Round) => number): Spread => spreadOf(rounds.map(value));
  /** Of each column of the levels. */
  const ofLevels = (value: (peak: AtPeak) => number): Spread[] => [
    ...LEVELS.map((level) => over(({ peak }) => value(peak[level]))),
    ...LEVELS_BESIDE_REPLICA.map((level) => spreadOf(besideReplica.map((round) => value(round[level])))),
  ];
  const atShare = (share: Share, value: (outcome: OpenLoopOutcome) => number): Spread =>
    spreadOf(
      rounds.flatMap(({ shares }) => shares.filter((one) => one.share === share)).map((one) => value(one.outcome)),
    );
  const picture: Picture = {
    name: 'latency-open-loop',
    title: 'Accepted claims, from the moment they were due to the answer',
    kind: 'lines',
    x: { title: 'offered, share of the peak' },
    y: { title: 'ms', logarithmic: true },
    points: PERCENTILE_KEYS.flatMap((key) =>
      SHARES.map((x) => ({ series: PERCENTILES[key], x, y: atShare(x, ({ acceptedMs }) => acceptedMs[key]) })),
    ),
  };
  return {
    tables: [
      {
        title: `Latency by what is offered, level ${USUAL_LEVEL}`,
        columns: SHARES.map((share) => `${share * 100} % of the peak`),
        rows: [
          ...PERCENTILE_KEYS.map((key) => ({
            title: `${PERCENTILES[key]}, ms`,
            digits: 1,
            cells: SHARES.map((share) => atShare(share, ({ acceptedMs }) => acceptedMs[key])),
          })),
          {
            title: 'the generator itself late, p99, ms',
            digits: 1,
            cells: SHARES.map((share) => atShare(share, ({ lagMs }) => lagMs.p99)),
          },
        ],
        notes: [
          `${count} rounds; a latency counts from the moment a request was due, not from when it could be sent.`,
          'At the peak itself a queue grows for as long as it is measured.',
        ],
      },
      {
        title: 'The levels at the peak: connections that ask again when they are answered',
        columns: [...LEVELS, 'redis, beside a replica', 'replica'],
        rows: [
          { title: 'claims per second', digits: 0, cells: ofLevels(({ perSecond }) => perSecond) },
          {
            title: 'claims per second, rows in MySQL included',
            digits: 0,
            cells: ofLevels(({ writtenPerSecond }) => writtenPerSecond),
          },
          { title: 'p50, ms', digits: 1, cells: ofLevels(({ p50Ms }) => p50Ms) },
          { title: 'p99, ms', digits: 1, cells: ofLevels(({ p99Ms }) => p99Ms) },
        ],
        notes: [
          'The embedded Redis flushes before it replies, so `redis` and `fsync` are the same there but for a look.',
          'Level `replica` was measured on a second service, whose Redis has a replica on the same machine, in turns with level `redis` there.',
        ],
      },
    ],
    pictures: [picture],
    findings: [
      { target: 'p99AtHalf', value: atShare(HALF, ({ acceptedMs }) => acceptedMs.p99) },
      { target: 'p99LedgerOverRedis', value: over(({ peak }) => peak.ledger.p99Ms - peak.redis.p99Ms) },
    ],
    problems,
    raw: { rounds, besideReplica },
  };
}
