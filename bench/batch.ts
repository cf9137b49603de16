// The part `batch`: a claim through the batch endpoint against a claim of its own, on one http worker, in turns. On a small
// machine Redis, the ledger and the load share the cores with the worker, so its claims per second are told twice: as
// they were, and for a second of its own CPU, which is what it could do if nobody else wanted the cores.
import { auditProblems } from './audit.js';
import { complaintsOf, LoadGenerator } from './load-generator.js';
import type { MeasuredLoad } from './measured-load.js';
import { measureLoad } from './measured-load.js';
import type { Part, ResultTable } from './part.js';
import { startService } from './service.js';
import { microsOf } from './service-cpu.js';
import { stoppingAll } from './started.js';
import type { Spread } from './statistics.js';
import { spreadOf } from './statistics.js';

const SCALES = {
  full: { singles: 20_000, batched: 60_000 },
  short: { singles: 1_000, batched: 3_000 },
} as const;

/** Claims of one request, as many as the endpoint takes. */
const BATCH = 1_000;
/** Enough to keep a worker busy. */
const CONNECTIONS = { single: 256, batch: 4 } as const;

const WAYS = ['single', 'batch'] as const;
type Way = (typeof WAYS)[number];
type Rounds = Readonly<Record<Way, MeasuredLoad[]>>;

export const BATCHES: Part = {
  name: 'batch',
  description: 'claims by the batch endpoint against single claims, on one http worker',
  minutes: 1,
  measure: async (context) =>
    await stoppingAll(async (keep) => {
      const { rounds, signal, report } = context;
      const { singles, batched } = SCALES[context.scale];
      report('starting a service');
      const service = keep(await startService({ ...context, workers: 1 }));
      const generator = keep(new LoadGenerator(signal));
      const claims = { single: singles, batch: batched };
      const measured: Rounds = { single: [], batch: [] };
      const problems: string[] = [];
      await service.createCoupon('claimed', (singles + batched) * (rounds + 1));
      for (let round = 0; round <= rounds; round++) {
        report(round === 0 ? 'warming up' : `round ${round} of ${rounds}`);
        for (const way of WAYS) {
          const job = {
            couponId: 'claimed',
            userPrefix: `${way}-${round}-`,
            requests: claims[way],
            connections: CONNECTIONS[way],
            ...(way === 'batch' && { batch: BATCH }),
          };
          const one = await measureLoad(service, generator, job);
          problems.push(...complaintsOf(`${way}, round ${round}`, one.load, EXPECTED[way]));
          if (round > 0) measured[way].push(one);
        }
      }
      problems.push(...(await auditProblems(service, (singles + batched) * (rounds + 1))));
      return {
        tables: [tableOf(measured, claims, rounds)],
        pictures: [],
        findings: [{ target: 'batchAgainstSingle', value: ratioOf(measured, perHttpSecond) }],
        problems,
        raw: measured,
      };
    }),
};

const EXPECTED: Readonly<Record<Way, string>> = { single: '201 claimed', batch: '200 claimed' };

function perHttpSecond({ cpuMicrosPerClaim }: MeasuredLoad): number {
  return 1_000_000 / microsOf(cpuMicrosPerClaim, 'http');
}

/** Batch over single, round by round. */
function ratioOf({ single, batch }: Rounds, value: (one: MeasuredLoad) => number): Spread {
  return spreadOf(batch.map((one, i) => value(one) / (single[i] === undefined ? NaN : value(single[i]))));
}

function tableOf(measured: Rounds, claims: Readonly<Record<Way, number>>, rounds: number): ResultTable {
  const row = (title: string, digits: number, value: (one: MeasuredLoad) => number, ratio = false) => ({
    ...{ title, digits },
    cells: [...WAYS.map((way) => spreadOf(measured[way].map(value))), ratio ? ratioOf(measured, value) : undefined],
  });
  return {
    title: 'Batches against single claims, one http worker',
    columns: ['single claims', `batches of ${BATCH}`, 'ratio'],
    rows: [
      row('claims per second of CPU of the http worker', 1, perHttpSecond, true),
      row('claims per second', 1, ({ claimsPerSecond }) => claimsPerSecond, true),
      ...(['http', 'redis', 'ledger', 'mariadb'] as const).map((kind) =>
        row(`${kind}, µs of CPU per claim`, 1, ({ cpuMicrosPerClaim }) => microsOf(cpuMicrosPerClaim, kind)),
      ),
    ],
    notes: [
      `${rounds} rounds of ${claims.single} single claims over ${CONNECTIONS.single} connections and ${claims.batch} claims in batches over ${CONNECTIONS.batch}, in turns; all granted.`,
      'Claims per second are those of a machine whose cores Redis, ledger, MariaDB and the load use, too; the target is held against claims per second of CPU of the http worker.',
    ],
  };
}
