// The part `generator`: whether the benchmark's own load generator decides what is measured. The same loads come from it and from
// wrk, a generator in C, in turns: the empty route, claims that are granted, sold-out answers. Each claim has a user of its own,
// and every answer is looked at by both.
import { TOTAL_MAX } from '../../coupons/definition.js';
import { auditProblems } from '../audit.js';
import { cpuMicrosOf, endedChildrenCpuMicros } from '../cpu.js';
import { EVERYTHING_ON } from '../everything-on.js';
import { LoadGenerator } from '../load-generator.js';
import type { LoadSource } from '../load-job.js';
import type { Measured } from '../measured-load.js';
import { answeredOf, measureAnswered } from '../measured-load.js';
import type { Part, PartContext } from '../part.js';
import { startPeer } from '../peers/start-peer.js';
import { firstRound } from '../rounds.js';
import { PATIENT, startService } from '../service.js';
import { stoppingAll } from '../started.js';
import { resultOf } from './result.js';
import type { LoadName, Round, SourceName, Turn } from './turns.js';
import { LOADS } from './turns.js';
import { provideWrk, Wrk } from './wrk.js';

/** wrk takes whole seconds. */
const WRK_SECONDS = { full: 2, short: 1 } as const;
const GRANTED = '201 claimed';
const SOLD_OUT = '409 sold_out';
/** wrk claims for as long as it runs, however fast that is: neither stock nor the ledger's window may end a load. */
const ENVIRONMENT = { ...EVERYTHING_ON.environment, ...PATIENT, LEDGER_WINDOW: '1000000' };

interface Target {
  readonly measured: Measured;
  readonly couponId: string;
  /** The one answer. */
  readonly expected: string;
}

interface Source {
  readonly name: SourceName;
  readonly source: LoadSource;
  /** µs that it has used so far. */
  readonly cpuMicros: () => number;
}

export const GENERATOR: Part = {
  name: 'generator',
  description: "the same loads from wrk and from the benchmark's own generator: what decides the figures",
  minutes: 1,
  measure: async (context) =>
    await stoppingAll(async (keep) => {
      const { workers, connections, signal, report } = context;
      const wrk = new Wrk(await provideWrk(context), WRK_SECONDS[context.scale], signal);
      report('starting a service and an empty route');
      const service = keep(await startService({ ...context, environment: ENVIRONMENT }));
      const floor = keep(await startPeer('empty-fastify', { workers }, context));
      const own = keep(new LoadGenerator(signal));
      await service.createCoupon('sale', TOTAL_MAX);
      await service.createCoupon('gone', 1);
      const winner = { couponId: 'gone', identity: EVERYTHING_ON.identity, userPrefix: 'winner-' };
      await measureAnswered(GRANTED, service, own, { ...winner, requests: 1, connections });

      const targets: Readonly<Record<LoadName, Target>> = {
        'empty Fastify route': { measured: floor, couponId: 'floor', expected: GRANTED },
        'granted claims': { measured: service, couponId: 'sale', expected: GRANTED },
        'sold-out answers': { measured: service, couponId: 'gone', expected: SOLD_OUT },
      };
      const sources: readonly Source[] = [
        { name: 'wrk', source: wrk, cpuMicros: endedChildrenCpuMicros },
        { name: "the benchmark's own", source: own, cpuMicros: () => cpuMicrosOf(own.pid) },
      ];
      let told = 1;
      const rounds: Round[] = [];
      for (let round = firstRound(context); round <= context.rounds; round++) {
        report(round === 0 ? 'warming up' : `round ${round} of ${context.rounds}`);
        const turns = await measureRound(context, round, targets, sources);
        for (const { load, measured } of turns) if (load === 'granted claims') told += answeredOf(measured.load);
        if (round > 0) rounds.push(turns);
      }
      return resultOf(context, rounds, await auditProblems(service, told));
    }),
};

async function measureRound(
  { requests, connections }: PartContext,
  round: number,
  targets: Readonly<Record<LoadName, Target>>,
  sources: readonly Source[],
): Promise<Round> {
  const turns: Turn[] = [];
  for (const load of LOADS) {
    const { measured: target, couponId, expected } = targets[load];
    // Each is first as often as the other.
    for (const { name, source, cpuMicros } of round % 2 === 0 ? sources : sources.toReversed()) {
      const userPrefix = `${load.slice(0, 1)}${round}-${name.slice(0, 1)}-`;
      const job = { couponId, identity: EVERYTHING_ON.identity, userPrefix, requests, connections };
      const before = cpuMicros();
      const measured = await measureAnswered(expected, target, source, job);
      turns.push({ load, source: name, measured, generatorMicros: (cpuMicros() - before) / answeredOf(measured.load) });
    }
  }
  return turns;
}
