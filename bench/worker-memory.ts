// The part `worker-memory`: whether an http worker keeps anything of the claims that it has answered. Ten laps of a million
// claims, the same each time; the resident memory is looked at while the single claims at the end of a lap are answered, after a
// full collection: garbage that V8 has not come to yet is nothing that is kept, and may be 50 MB.
import { setTimeout as delay } from 'node:timers/promises';
import { auditProblems } from './audit.js';
import { complaintsOf, LoadGenerator } from './load-generator.js';
import type { LoadJob, LoadResult } from './load-job.js';
import type { Part, PartResult } from './part.js';
import { residentBytesOf } from './resident-memory.js';
import { startService } from './service.js';
import { stoppingAll } from './started.js';
import type { Spread } from './statistics.js';
import { spreadOf } from './statistics.js';

/** Claims of a lap: in batches granted, asked for again, and sold out; then single ones. */
const SCALES = {
  full: { laps: 10, granted: 150_000, againTimes: 2, soldOut: 500_000, singles: 50_000 },
  short: { laps: 2, granted: 2_000, againTimes: 2, soldOut: 3_000, singles: 1_000 },
} as const;
type Scale = (typeof SCALES)[keyof typeof SCALES];

const USERS_PER_REQUEST = 1_000;
const BATCH_CONNECTIONS = 4;
/** So many at once that the ledger's window (LEDGER_WINDOW, 100,000) is not the end of it. */
const GRANTED_AT_ONCE = 50_000;
const SAMPLE_EVERY_MS = 200;
/** What its agent does first is collect. */
const COLLECT = '/debug/workers/http-1/heap?seconds=0.1&gc=1';

interface Lap {
  /** Answered so far. */
  readonly claims: number;
  /** Bytes, at regular intervals while single claims are answered. */
  readonly samples: readonly number[];
}

export const WORKER_MEMORY: Part = {
  name: 'worker-memory',
  description: 'resident memory of an http worker after a million claims and after ten',
  minutes: 2,
  measure: async (context) =>
    await stoppingAll(async (keep) => {
      const { connections, signal, report } = context;
      const scale = SCALES[context.scale];
      report('starting a service');
      const service = keep(await startService({ ...context, workers: 1 }));
      const generator = keep(new LoadGenerator(signal));
      const [pid = 0] = service.pids.http;
      const ofLap = claimsOfLap(scale);
      const told = (scale.granted + scale.singles) * scale.laps;
      await service.createCoupon('plenty', told);
      await service.createCoupon('gone', 1);
      const problems: string[] = [];
      const run = async (job: Omit<LoadJob, 'url'>, expected: string): Promise<void> => {
        const load = await generator.run({ ...job, url: service.url });
        problems.push(...complaintsOf(`${job.userPrefix} of ${job.couponId}`, load, expected));
        await service.databases.whenWritten();
      };
      await run({ couponId: 'gone', userPrefix: 'winner-', requests: 1, connections: 1 }, '201 claimed');

      const batched = { batch: USERS_PER_REQUEST, connections: BATCH_CONNECTIONS };
      const laps: Lap[] = [];
      for (let lap = 0; lap < scale.laps; lap++) {
        report(`${lap * ofLap} of ${scale.laps * ofLap} claims answered`);
        const members = { couponId: 'plenty', userPrefix: `member-${lap}-`, ...batched };
        for (let firstUser = 0; firstUser < scale.granted; firstUser += GRANTED_AT_ONCE) {
          const requests = Math.min(GRANTED_AT_ONCE, scale.granted - firstUser);
          await run({ ...members, firstUser, requests }, '200 claimed');
        }
        for (let time = 0; time < scale.againTimes; time++) {
          await run({ ...members, requests: scale.granted }, '200 already_claimed');
        }
        const late = { couponId: 'gone', userPrefix: `late-${lap}-`, requests: scale.soldOut, ...batched };
        await run(late, '200 sold_out');

        const single = { couponId: 'plenty', userPrefix: `single-${lap}-`, requests: scale.singles, connections };
        await generator.connect({ ...single, url: service.url });
        await service.admin('GET', COLLECT);
        const { load, samples } = await sampled(pid, generator.go(), signal);
        problems.push(...complaintsOf(`single claims, lap ${lap}`, load, '201 claimed'));
        await service.databases.whenWritten();
        laps.push({ claims: (lap + 1) * ofLap, samples });
      }
      report('auditing');
      problems.push(...(await auditProblems(service, told + 1)));
      return resultOf(scale, laps, problems);
    }),
};

async function sampled(
  pid: number,
  loading: Promise<LoadResult>,
  signal: AbortSignal,
): Promise<{ load: LoadResult; samples: number[] }> {
  const samples: number[] = [];
  const over = new AbortController();
  const load = loading.finally(() => over.abort());
  // One that fails while this sleeps is told below.
  load.catch(() => undefined);
  while (!over.signal.aborted) {
    samples.push(residentBytesOf(pid));
    await delay(SAMPLE_EVERY_MS, undefined, { signal: over.signal }).catch(() => signal.throwIfAborted());
  }
  return { load: await load, samples };
}

function resultOf(scale: Scale, laps: readonly Lap[], problems: readonly string[]): PartResult {
  const { granted, againTimes, soldOut, singles } = scale;
  const [first, last] = [laps[0], laps.at(-1)];
  if (first === undefined || last === undefined) throw new RangeError('there are laps');
  const before = spreadOf(first.samples).median;
  const ratio = spreadOf(last.samples.map((bytes) => bytes / before));
  const megabytes = ({ samples }: Lap): Spread => spreadOf(samples.map((bytes) => bytes / 1e6));
  const millions = (claims: number): string => (claims / 1e6).toLocaleString('en');
  return {
    tables: [
      {
        title: 'Resident memory of an http worker',
        columns: [`after ${millions(first.claims)} M claims`, `after ${millions(last.claims)} M claims`],
        rows: [
          { title: 'resident, MB', digits: 1, cells: [megabytes(first), megabytes(last)] },
          { title: 'against the median after the first lap', digits: 2, cells: [undefined, ratio] },
        ],
        notes: [
          `Each lap: ${granted} claims granted in batches of ${USERS_PER_REQUEST}, the same asked again ${againTimes} times, ${soldOut} sold out, then ${singles} single claims granted.`,
          `The memory is looked at every ${SAMPLE_EVERY_MS} ms while the single claims are answered, which begin after a full collection.`,
        ],
      },
    ],
    pictures: [
      {
        ...{ name: 'worker-memory', title: 'Resident memory of an http worker', kind: 'lines' },
        x: { title: 'claims answered' },
        y: { title: 'MB' },
        points: laps.map((lap) => ({ series: 'http worker', x: lap.claims, y: megabytes(lap) })),
      },
    ],
    findings: [{ target: 'workerMemory', value: ratio }],
    problems,
    raw: laps,
  };
}

function claimsOfLap({ granted, againTimes, soldOut, singles }: Scale): number {
  return granted * (1 + againTimes) + soldOut + singles;
}
