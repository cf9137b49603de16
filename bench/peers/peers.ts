// The part `peers`: what a claim costs, side by side with a route that does nothing and with other designs, in one run. All of
// them are up all the time and are loaded in turns, so that whatever else the machine does meets all alike; ratios are taken
// within a round. Granted claims, sold-out answers and users who
// ask again apart.
import { setTimeout as delay } from 'node:timers/promises';
import { auditProblems } from '../audit.js';
import { EVERYTHING_ON } from '../everything-on.js';
import { LoadGenerator } from '../load-generator.js';
import type { Measured, MeasuredLoad } from '../measured-load.js';
import { measureAnswered, readCpu } from '../measured-load.js';
import type { Part, PartContext, PartResult } from '../part.js';
import type { CpuMicros } from '../service-cpu.js';
import { cpuMicrosPer } from '../service-cpu.js';
import type { Service } from '../service.js';
import { SHARD_COUNT, startService } from '../service.js';
import { stoppingAll } from '../started.js';
import { FLOOR, OURS, resultOf, USUAL } from './peers-result.js';
import type { Peer } from './start-peer.js';
import { startPeer } from './start-peer.js';
import type { UsualSystem } from './usual-system.js';
import { startUsualSystem } from './usual-system.js';

export const PEERS: Part = {
  name: 'peers',
  description:
    'a claim side by side with an empty route, bare node:http, the usual design, and one script call per claim',
  minutes: 2,
  measure: async (context) =>
    await stoppingAll(async (keep) => {
      const { workers, report, signal } = context;
      report('Starting a service with Redis and MariaDB of its own');
      const service = keep(await startService({ ...context, environment: EVERYTHING_ON.environment }));
      report('Starting the peers');
      const redisUrl = service.databaseUrls.REDIS_URL;
      const systems: Systems = {
        service,
        floor: keep(await startPeer('empty-fastify', { workers }, context)),
        bare: keep(await startPeer('bare-http', { workers }, context)),
        oneScript: keep(await startPeer('one-script-server', { workers, redisUrl, shardCount: SHARD_COUNT }, context)),
        usual: await startUsualSystem(context, keep),
      };
      return await measureAll(systems, keep(new LoadGenerator(signal)), context);
    }),
};

interface Systems {
  readonly service: Service;
  readonly floor: Peer;
  readonly bare: Peer;
  readonly oneScript: Peer;
  readonly usual: UsualSystem;
}

const GRANTED = '201 claimed';
const SOLD_OUT = '409 sold_out';
const AGAIN = '200 already_claimed';
/** How the usual design says it. */
const AGAIN_REFUSED = '409 already_claimed';
const IDLE_MS = 2_000;

export interface Contestant {
  readonly name: string;
  readonly measured: Measured;
  readonly couponId: string;
  readonly path: 'granted' | 'sold out' | 'asked again';
  /** The one answer; any other makes its figures worthless. */
  readonly expected: string;
}

export interface PeerRounds extends Contestant {
  readonly rounds: readonly MeasuredLoad[];
}

function contestantsOf({ service, floor, bare, oneScript, usual }: Systems): Contestant[] {
  // The same Redis, ledger and MariaDB; the http workers of the service are idle meanwhile.
  const oneScriptWithLedger: Measured = {
    url: oneScript.url,
    pids: { ...service.pids, http: oneScript.pids.http },
    counters: () => service.counters(),
    redisCpuMicros: () => service.redisCpuMicros(),
    whenWritten: () => service.whenWritten(),
  };
  const granted = (name: string, measured: Measured, couponId: string): Contestant => ({
    name,
    measured,
    couponId,
    path: 'granted',
    expected: GRANTED,
  });
  const soldOut = (name: string, measured: Measured): Contestant => ({
    name,
    measured,
    couponId: 'gone',
    path: 'sold out',
    expected: SOLD_OUT,
  });
  const again = (name: string, measured: Measured, expected: string): Contestant => ({
    name,
    measured,
    couponId: 'again',
    path: 'asked again',
    expected,
  });
  return [
    granted(FLOOR, floor, 'floor'),
    granted('bare node:http', bare, 'bare'),
    granted(USUAL, usual, 'usual'),
    granted('usual, auto-pipelining', usual.pipelined, 'usual-pipelined'),
    granted('one script per claim', oneScriptWithLedger, 'one-script'),
    granted(OURS, service, 'stampede'),
    soldOut(USUAL, usual),
    soldOut('one script per claim', oneScriptWithLedger),
    soldOut(OURS, service),
    again(USUAL, usual, AGAIN_REFUSED),
    again('one script per claim', oneScriptWithLedger, AGAIN),
    again(OURS, service, AGAIN),
  ];
}

async function measureAll(systems: Systems, generator: LoadGenerator, context: PartContext): Promise<PartResult> {
  const { rounds, requests, connections, report, signal } = context;
  const { service, usual } = systems;
  const { identity } = EVERYTHING_ON;
  const contestants = contestantsOf(systems);
  const stock = requests * (rounds + 1);
  await service.createCoupon('stampede', stock);
  await service.createCoupon('one-script', stock);
  await service.createCoupon('gone', 1);
  await service.createCoupon('again', requests);
  await usual.createCoupon('usual', stock);
  await usual.createCoupon('usual-pipelined', stock);
  await usual.createCoupon('again', requests);
  const winner = { couponId: 'gone', userPrefix: 'winner-', identity, requests: 1, connections };
  await measureAnswered(GRANTED, service, generator, winner);
  const firstTime = { couponId: 'again', userPrefix: usersOf('again', 0), identity, requests, connections };
  for (const measured of [service, usual]) await measureAnswered(GRANTED, measured, generator, firstTime);

  const measured = contestants.map((contestant) => ({ ...contestant, rounds: [] as MeasuredLoad[] }));
  // Round 0 lets compilers and caches settle, and counts for nothing.
  for (let round = 0; round <= rounds; round++) {
    for (const { name, measured: target, couponId, path, expected, rounds: loads } of measured) {
      report(`${round === 0 ? 'Warming up' : `Round ${round} of ${rounds}`}: ${name}, ${path}`);
      const job = { couponId, userPrefix: usersOf(couponId, round), identity, requests, connections };
      const one = await measureAnswered(expected, target, generator, job);
      if (round > 0) loads.push(one);
    }
  }
  report('Measuring the idle service');
  const idle = await measureIdle(service, signal);
  report('Checking the books');
  const problems = [
    ...(await auditProblems(service, 2 * stock + requests + 1)),
    ...(await usual.check('usual', stock)),
    ...(await usual.check('usual-pipelined', stock)),
    ...(await usual.check('again', requests)),
  ];
  return resultOf(measured, idle, problems, context);
}

/** What the service costs while nobody asks, µs of CPU per second: it is part of every figure, not subtracted. */
async function measureIdle(service: Service, signal: AbortSignal): Promise<CpuMicros> {
  const before = await readCpu(service);
  const startedAt = performance.now();
  await delay(IDLE_MS, undefined, { signal });
  return cpuMicrosPer((performance.now() - startedAt) / 1_000, before, await readCpu(service));
}

/** Users who ask again are the same in every round; all others are new. */
function usersOf(couponId: string, round: number): string {
  return couponId === 'again' ? 'again-' : `${couponId}-${round}-`;
}
