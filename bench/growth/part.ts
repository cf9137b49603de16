// The part `growth`: whether a claim costs more as work grows. Services that differ in one number only, of users who have
// claimed already or of coupons, are measured in turns: what disturbs the machine disturbs all of them.
import { TOTAL_MAX } from '../../coupons/definition.js';
import { auditProblems } from '../audit.js';
import { complaintsOf, LoadGenerator } from '../load-generator.js';
import type { MeasuredLoad } from '../measured-load.js';
import { measureLoad } from '../measured-load.js';
import type { Part, PartContext, Picture, ResultTable } from '../part.js';
import type { Service } from '../service.js';
import { startService } from '../service.js';
import { microsOf } from '../service-cpu.js';
import { stoppingAll } from '../started.js';
import type { Spread } from '../statistics.js';
import { spreadOf } from '../statistics.js';
import { addMembers, pauseJobs } from './members.js';

const SCALES = {
  full: { users: [10_000, 100_000, 1_000_000, 10_000_000], coupons: [1, 100, 10_000], claims: 20_000 },
  short: { users: [5_000], coupons: [1, 20], claims: 1_000 },
} as const;

/** A coupon of so many users does not notice the claims of a round; a smaller one is measured once, and the next is taken. */
const LASTING = 1_000_000;
/** Requests of the admin API; most of their time is waiting for disks. */
const CREATING_AT_ONCE = 48;

const KINDS = ['http', 'redis', 'ledger', 'mariadb'] as const;
/** `http` worker and Redis: what a claim waits for. */
const waitedFor = ({ cpuMicrosPerClaim: cpu }: MeasuredLoad): number => microsOf(cpu, 'http') + microsOf(cpu, 'redis');
/** With what comes behind the answer, until the row is in MariaDB. Primary and admin process have no part in a claim. */
const untilWritten = ({ cpuMicrosPerClaim: cpu }: MeasuredLoad): number =>
  KINDS.reduce((sum, kind) => sum + microsOf(cpu, kind), 0);

/** One number of users, or of coupons. */
interface Size {
  readonly size: number;
  readonly service: Service;
  /** Where the claims of a round go, once the service has what it shall have. */
  readonly target: (round: number) => { readonly couponId: string; readonly coupons?: number };
  /** Of all that was prepared. */
  readonly members: number;
}

interface Grown {
  readonly size: number;
  readonly rounds: readonly MeasuredLoad[];
}

export const GROWTH: Part = {
  name: 'growth',
  description: 'CPU of a claim with 10 thousand to 10 million claimed users, and with 1 to 10,000 coupons',
  minutes: 4,
  measure: async (context) => {
    const { users, coupons, claims } = SCALES[context.scale];
    const problems: string[] = [];
    const byUsers = await measureSizes(context, users, withUsers, claims, problems);
    const byCoupons = await measureSizes(context, coupons, withCoupons, claims, problems);
    return {
      tables: [
        tableOf('claimed users of the coupon', byUsers, [
          ...notesOf(context, claims),
          `The users were written to MySQL as rows, and rebuilt into Redis by the service. A coupon below ${LASTING} users is measured once, and the next one taken: it grows by ${claims}.`,
        ]),
        tableOf('coupons, claimed in turn', byCoupons, [
          ...notesOf(context, claims),
          'Coupons of one shard share its batches, and each has a fixed price in every batch: the more coupons, the fewer claims of each in one script call.',
        ]),
      ],
      pictures: [
        pictureOf('growth-users', 'claimed users of the coupon', byUsers),
        pictureOf('growth-coupons', 'coupons', byCoupons),
      ],
      findings: [
        { target: 'growthUsers', value: largestAgainstSmallest(byUsers, waitedFor) },
        { target: 'growthUsersWritten', value: largestAgainstSmallest(byUsers, untilWritten) },
        { target: 'growthCoupons', value: largestAgainstSmallest(byCoupons, waitedFor) },
        { target: 'growthCouponsWritten', value: largestAgainstSmallest(byCoupons, untilWritten) },
      ],
      problems,
      raw: { byUsers, byCoupons },
    };
  },
};

type Prepare = (context: PartContext, service: Service, size: number, claims: number) => Promise<Omit<Size, 'size'>>;

/** A service of each size, side by side. */
async function measureSizes(
  context: PartContext,
  sizes: readonly number[],
  prepare: Prepare,
  claims: number,
  problems: string[],
): Promise<Grown[]> {
  const { rounds, connections, signal, report, log } = context;
  return await stoppingAll(async (keep) => {
    report(`starting ${sizes.length} services`);
    // All are waited for, so that none is left behind when another cannot start.
    const starting = sizes.map(async () => keep(await startService({ ...context, workers: 1 })));
    await Promise.allSettled(starting);
    const services = await Promise.all(starting);
    report(`preparing ${sizes.join(', ')} of what grows`);
    const prepared = await Promise.all(
      services.map(async (service, i) => {
        const size = sizes[i] ?? 0;
        await pauseJobs(service, log);
        const made = await prepare(context, service, size, claims);
        // What was loaded makes the file twice as long, and Redis writes it anew: once, for users who came over weeks.
        await service.databases.whenNotRewriting();
        return { size, ...made };
      }),
    );
    const generator = keep(new LoadGenerator(signal));
    const grown = prepared.map(({ size }) => ({ size, rounds: [] as MeasuredLoad[] }));
    for (let round = 0; round <= rounds; round++) {
      report(round === 0 ? 'warming up' : `round ${round} of ${rounds}`);
      for (const [i, { size, service, target }] of prepared.entries()) {
        const job = { ...target(round), userPrefix: `round-${round}-`, requests: claims, connections };
        const one = await measureLoad(service, generator, job);
        problems.push(...complaintsOf(`${size}, round ${round}`, one.load, '201 claimed'));
        if (round > 0) grown[i]?.rounds.push(one);
      }
    }
    report('auditing');
    for (const { service, members } of prepared) {
      problems.push(...(await auditProblems(service, members + claims * (rounds + 1))));
    }
    return grown;
  });
}

const withUsers: Prepare = async ({ rounds, signal }, service, size, claims) => {
  const lasting = size >= LASTING;
  // The largest coupon that there may be is full in the end.
  const users = Math.min(size, TOTAL_MAX - claims * (rounds + 1));
  const couponIds = Array.from({ length: lasting ? 1 : rounds + 1 }, (_, i) => `growth-${i}`);
  for (const couponId of couponIds) await service.createCoupon(couponId, users + claims * (rounds + 1));
  await addMembers(service, couponIds, users, signal);
  return {
    service,
    target: (round) => ({ couponId: `growth-${lasting ? 0 : round}` }),
    members: couponIds.length * users,
  };
};

const withCoupons: Prepare = async ({ rounds, signal }, service, coupons, claims) => {
  const names = Array.from({ length: coupons }, (_, i) => (coupons === 1 ? 'growth' : `growth-${i}`));
  let created = 0;
  const createOneByOne = async (): Promise<void> => {
    for (let name = names[created++]; name !== undefined; name = names[created++]) {
      signal.throwIfAborted();
      await service.createCoupon(name, claims * (rounds + 1));
    }
  };
  await Promise.all(Array.from({ length: CREATING_AT_ONCE }, createOneByOne));
  return { service, target: () => ({ couponId: 'growth', coupons }), members: 0 };
};

/** Round by round. */
function largestAgainstSmallest(grown: readonly Grown[], cost: (one: MeasuredLoad) => number): Spread {
  const rounds = grown[0]?.rounds.length ?? 0;
  return spreadOf(
    Array.from({ length: rounds }, (_, round) => {
      const costs = grown.flatMap((one) => one.rounds.slice(round, round + 1).map(cost));
      return (costs.at(-1) ?? NaN) / (costs[0] ?? NaN);
    }),
  );
}

function tableOf(what: string, grown: readonly Grown[], notes: readonly string[]): ResultTable {
  const row = (title: string, digits: number, value: (one: MeasuredLoad) => number) => ({
    ...{ title, digits },
    cells: grown.map(({ rounds }) => spreadOf(rounds.map(value))),
  });
  return {
    title: `A claim as work grows: ${what}`,
    columns: grown.map(({ size }) => size.toLocaleString('en')),
    rows: [
      row('all of them, µs of CPU per claim', 1, untilWritten),
      row('http and Redis, µs of CPU per claim', 1, waitedFor),
      ...KINDS.map((kind) => row(`${kind}, µs of CPU per claim`, 1, (one) => microsOf(one.cpuMicrosPerClaim, kind))),
      row('claims per second', 0, ({ claimsPerSecond }) => claimsPerSecond),
    ],
    notes,
  };
}

function notesOf({ rounds, connections }: PartContext, claims: number): string[] {
  return [
    `${rounds} rounds of ${claims} granted claims over ${connections} connections on a service of each size, in turns; 1 http worker each.`,
    'Scheduled jobs are paused while this is measured: the reconciliation of each minute takes about 3 s for a million claims.',
  ];
}

function pictureOf(name: string, what: string, grown: readonly Grown[]): Picture {
  return {
    ...{ name, title: `CPU of a claim by ${what}`, kind: 'lines' },
    x: { title: what, logarithmic: true },
    y: { title: 'µs of CPU per claim' },
    points: grown.flatMap(({ size, rounds }) =>
      KINDS.map((kind) => ({
        ...{ series: kind, x: size },
        y: spreadOf(rounds.map(({ cpuMicrosPerClaim }) => microsOf(cpuMicrosPerClaim, kind))),
      })),
    ),
  };
}
