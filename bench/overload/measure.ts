// What the whole service does when it is offered three times what it can do. Each round measures the peak first (every connection
// asks again when it is answered) and then offers three times that, whatever becomes of it. Two limits:
//
//   redis      the way to Redis takes 600 ms there and back (a proxy delays it), so that two batches in flight bound the service
//              and not the processors, which have to be enough for service, databases and load generator.
//   processor  nothing is slowed down: one http worker has as much as its processor can do.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../../platform/errors.js';
import { thisMachine } from '../../platform/embedded/executables.js';
import { provideExecutables } from '../../platform/embedded/provide-executables.js';
import { redisProgram } from '../../platform/embedded/redis-server.js';
import { startOnFreePort } from '../../platform/embedded/server-process.js';
import type { Log } from '../../platform/log.js';
import { FaultProxy } from '../../verify/fault-proxy.js';
import { Child } from '../child.js';
import { cpuMicrosOf } from '../cpu.js';
import { startService } from '../service.js';
import type { Service } from '../service.js';
import type { Offer, Outcome } from './offer-job.js';

export const LIMITS = ['redis', 'processor'] as const;
export type Limit = (typeof LIMITS)[number];

/** Each way. */
const REDIS_DELAY_MS = 300;
const OFFERED_TIMES = 3;
const WARM_UP_MS = 3_000;
const ANSWER_TIMEOUT_MS = 120_000;
/** Never the limit. */
const STOCK = 10_000_000;
/** To reach the peak: more claims than two batches in flight and those that gather meanwhile. */
const PEAK_CONNECTIONS: Readonly<Record<Limit, number>> = { redis: 1_536, processor: 1_000 };
const CONNECTIONS_MAX: Readonly<Record<Limit, number>> = { redis: 8_000, processor: 4_000 };

export interface Round {
  readonly peak: Measured;
  readonly offered: Measured;
}

export interface Measured extends Outcome {
  /** Claims served for each second of processor time that the http worker got. */
  readonly servedPerCpuSecond: number;
}

export interface OverloadOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly report: (step: string) => void;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Starts everything, measures, and stops everything whatever happens. */
export async function measureOverload(limit: Limit, options: OverloadOptions): Promise<Round[]> {
  const { log, report, signal, rounds } = options;
  const stops: (() => Promise<unknown>)[] = [];
  try {
    report(`Limit ${limit}: starting a service`);
    const redis = limit === 'redis' ? await startDistantRedis(options, stops) : undefined;
    const environment = {
      // The service's own defaults: this is about them.
      CLAIM_TIMEOUT_MS: '2000',
      ...(redis !== undefined && { REDIS_URL: redis.url }),
    };
    const service = await startService({ workers: 1, execArgv: [], environment, log, signal });
    stops.push(() => service.stop());
    redis?.proxy.misbehave('delay', REDIS_DELAY_MS);
    const load = new Child({ script: 'overload/offer', signal });
    stops.push(() => load.stop());
    const measured: Round[] = [];
    for (let round = 1; round <= rounds; round++) {
      report(`Limit ${limit}: round ${round} of ${rounds}`);
      measured.push(await measureRound(limit, `round-${round}`, service, load, options.seconds));
    }
    // Stopping is not what is measured.
    redis?.proxy.behave();
    return measured;
  } finally {
    report(`Limit ${limit}: stopping what was started`);
    await stopAll(stops);
  }
}

async function measureRound(limit: Limit, couponId: string, service: Service, load: Child, seconds: number) {
  await service.createCoupon(couponId, STOCK);
  const offer = async (
    userPrefix: string,
    perSecond: number | undefined,
    connectionsMax: number,
  ): Promise<Measured> => {
    const job: Offer = {
      ...{ url: service.url, couponId, userPrefix, perSecond, connectionsMax },
      ...{ warmUpMs: WARM_UP_MS, countedMs: seconds * 1_000 },
    };
    const answer = load.answer(ANSWER_TIMEOUT_MS, job);
    await delay(WARM_UP_MS);
    const before = cpuSecondsOf(service);
    const outcome = (await answer) as Outcome;
    const cpuSeconds = cpuSecondsOf(service) - before;
    return { ...outcome, servedPerCpuSecond: (outcome.served.perSecond * seconds) / cpuSeconds };
  };
  const peak = await offer('peak-', undefined, PEAK_CONNECTIONS[limit]);
  const offered = await offer('offered-', OFFERED_TIMES * peak.served.perSecond, CONNECTIONS_MAX[limit]);
  return { peak, offered };
}

function cpuSecondsOf({ pids }: Service): number {
  return pids.http.reduce((sum, pid) => sum + cpuMicrosOf(pid), 0) / 1_000_000;
}

/** A Redis of our own, and a proxy in front of it. */
async function startDistantRedis(
  { log, report }: OverloadOptions,
  stops: (() => Promise<unknown>)[],
): Promise<{ url: string; proxy: FaultProxy }> {
  const dir = await mkdtemp(join(tmpdir(), 'stampede-overload-'));
  stops.push(() => rm(dir, { recursive: true, force: true }));
  const context = { log, report };
  const { redis: executable } = await provideExecutables({
    ...context,
    ...{ redis: true, mysql: true, machine: thisMachine() },
  });
  if (executable === undefined) throw new Error('Redis was asked for');
  const redis = await startOnFreePort(await redisProgram({ dir, executable }, log), context);
  stops.push(() => redis.stop());
  const proxy = await FaultProxy.start(redis.port, Math.random);
  stops.push(() => proxy.stop());
  const url = new URL(redis.url);
  url.port = String(proxy.port);
  return { url: url.href, proxy };
}

/** The newest first. One failure stops no other. */
async function stopAll(stops: readonly (() => Promise<unknown>)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const stop of stops.toReversed()) await stop().catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw new AggregateError(failures, `could not stop everything: ${messageOf(failures[0])}`);
}
