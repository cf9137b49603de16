// Pairs of fresh http processes of the real service, one with the diagnostics agent and one without, under the same claims in
// turns: CPU time per claim of each. A process that once had its agent is not one without it (V8 keeps what the hooks have
// changed), so none is ever switched. Starts a service for databases and ledger, whose own http worker stays idle.
import { dirname } from 'node:path';
import { NODE_OPTIONS_OF_ROLE } from '../../cluster/primary/node-options.js';
import { findFreePort } from '../../platform/embedded/free-port.js';
import { createLog } from '../../platform/log.js';
import { Child } from '../child.js';
import type { ThreadMicros } from '../cpu.js';
import { threadMicrosOf } from '../cpu.js';
import type { HttpAloneReady } from '../http-alone.js';
import { LoadGenerator } from '../load-generator.js';
import { measureAnswered } from '../measured-load.js';
import type { Service } from '../service.js';
import { PATIENT, SHARD_COUNT, startService } from '../service.js';
import { stoppingAll } from '../started.js';
import { spreadOf } from '../statistics.js';

const CONNECTIONS = 128;
const START_TIMEOUT_MS = 30_000;
const COUPON = 'measured';
/** The most that a coupon may have: never the limit. */
const STOCK = 10_000_000;
const GRANTED = '201 claimed';
/** Of which the database does least: what it does disturbs whatever is measured beside it. */
const LEVEL = 'redis';

export interface PairsPlan {
  readonly pairs: number;
  /** Loads of each process that count, alternating with the other's. */
  readonly laps: number;
  readonly claimsPerLap: number;
  /** Claims of every lap before those that count: the sampler finds its rate anew after a pause. */
  readonly claimsToSettle: number;
  /** Laps before those that count: compilers and caches settle, and the agent takes its first snapshots. */
  readonly lapsToWarmUp: number;
}

/** Medians over the laps of one pair, µs of CPU time per claim. */
export interface Pair {
  readonly off: ThreadMicros;
  readonly on: ThreadMicros;
}

interface Running {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

type Which = 'off' | 'on';

/** `tell` is given each pair once it is measured. */
export async function measurePairs(plan: PairsPlan, signal: AbortSignal, tell: (pair: Pair) => void): Promise<void> {
  await stoppingAll(async (keep) => {
    const log = createLog('bench', 'silent');
    const environment = { DIAGNOSTICS: 'off' };
    const service = keep(await startService({ workers: 1, execArgv: [], environment, log, signal }));
    await service.createCoupon(COUPON, STOCK, LEVEL);
    const generator = keep(new LoadGenerator(signal));
    for (let nth = 0; nth < plan.pairs; nth++) tell(await measurePair(nth, plan, service, generator, signal));
  });
}

async function measurePair(
  nth: number,
  plan: PairsPlan,
  service: Service,
  generator: LoadGenerator,
  signal: AbortSignal,
): Promise<Pair> {
  return await stoppingAll(async (keep) => {
    // Each is the first to start, and the first under load, as often as the other.
    const order: readonly Which[] = nth % 2 === 0 ? ['off', 'on'] : ['on', 'off'];
    const processes: { readonly which: Which; readonly running: Running; readonly laps: ThreadMicros[] }[] = [];
    for (const which of order) {
      processes.push({ which, running: keep(await startHttp(which, service, signal)), laps: [] });
    }
    for (let lap = -plan.lapsToWarmUp; lap < plan.laps; lap++) {
      for (const { which, running, laps } of lap % 2 === 0 ? processes : processes.toReversed()) {
        const claim = async (name: string, requests: number): Promise<void> => {
          const userPrefix = `${nth}-${which}-${lap}-${name}-`;
          const job = { couponId: COUPON, userPrefix, requests, connections: CONNECTIONS };
          await measureAnswered(GRANTED, { url: running.url, pids: {} }, generator, job);
        };
        await service.whenWritten();
        await claim('before', plan.claimsToSettle);
        const before = threadMicrosOf(running.pid);
        await claim('counted', plan.claimsPerLap);
        const after = threadMicrosOf(running.pid);
        const perClaim = (which: keyof ThreadMicros): number => (after[which] - before[which]) / plan.claimsPerLap;
        if (lap >= 0) laps.push({ main: perClaim('main'), all: perClaim('all') });
      }
    }
    const median = (wanted: Which): ThreadMicros => {
      const laps = processes.find(({ which }) => which === wanted)?.laps ?? [];
      return {
        main: spreadOf(laps.map(({ main }) => main)).median,
        all: spreadOf(laps.map(({ all }) => all)).median,
      };
    };
    return { off: median('off'), on: median('on') };
  });
}

/** Resolves when it is ready. Rejects when it has an agent and should not, or the other way round. */
async function startHttp(which: Which, service: Service, signal: AbortSignal): Promise<Running> {
  const port = await findFreePort();
  const child = new Child({
    script: 'http-alone',
    execArgv: NODE_OPTIONS_OF_ROLE.http,
    environment: {
      ...process.env,
      ...service.databaseUrls,
      ...PATIENT,
      PORT: String(port),
      SHARD_COUNT: String(SHARD_COUNT),
      CLAIM_TIMEOUT_MS: '30000',
      STAMPEDE_DIR: dirname(service.socketFolder),
      DIAGNOSTICS: which,
    },
    signal,
  });
  try {
    const { socketPath } = (await child.answer(START_TIMEOUT_MS)) as HttpAloneReady;
    if ((socketPath === undefined) !== (which === 'off')) {
      throw new Error(`the agent of the process that has it ${which} listens on ${socketPath}`);
    }
  } catch (error) {
    await child.stop();
    throw error;
  }
  return { url: `http://127.0.0.1:${port}`, pid: child.pid, stop: () => child.stop() };
}
