// One run from start to verdict: deploy, load and faults together, recovery, everybody asks once more, check. Stops
// everything whatever happens. Prints nothing; report.ts does.
import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Ack } from '../coupons/definition.js';
import type { Log } from '../platform/log.js';
import type { Verdict } from './checker.js';
import { check } from './checker.js';
import { Clients } from './clients.js';
import { circumstancesOf, SettledWatch } from './circumstances.js';
import type { Deployment, RedisMode } from './deployment.js';
import { deploy } from './deployment.js';
import type { HappenedFault } from './faults.js';
import { carryOut } from './faults.js';
import type { FinalState, Operation } from './history.js';
import { History, now } from './history.js';
import { Operators } from './operators.js';
import { randomOf } from './random.js';
import { auditAll, readFinalCoupons, readRepairs, readWithheld, whenRecovered } from './recovery.js';
import type { FaultKind } from './schedule.js';
import { planFaults } from './schedule.js';

/** A first start makes a data folder for MariaDB and migrates. */
const START_LIMIT_MS = 120_000;
const POLL_MS = 100;
/** Faults wait for what they are to break, and on a busy machine that takes. The load goes on for so long, for what is left. */
const LATE_FAULTS_MS = 60_000;

export interface RunOptions {
  readonly seed: number;
  /** Of the load; start, recovery and check come on top. */
  readonly durationMs: number;
  readonly faults: readonly FaultKind[];
  readonly ack: Ack;
  readonly redis: RedisMode;
  /** A module that every process of the service loads first, to plant a bug that the run must find. */
  readonly preload?: string | undefined;
  readonly clients: number;
  /** An empty folder of its own. */
  readonly dir: string;
  readonly report: (step: string) => void;
  readonly log: Log;
  readonly signal: AbortSignal;
}

export interface RunResult {
  readonly verdict: Verdict;
  readonly history: readonly Operation[];
  readonly final: FinalState;
  /** Faults of the schedule; those that would have come too late are not among `faults`. */
  readonly planned: number;
  readonly faults: readonly HappenedFault[];
  /** Epoch milliseconds: the load began, it ended, everything worked again, everybody had asked once more. */
  readonly times: { readonly began: number; readonly calm: number; readonly recovered: number; readonly ended: number };
}

/** Rejects when the run could not be carried out; a broken promise of the service is a verdict, not an error. */
export async function run(options: RunOptions): Promise<RunResult> {
  const deployment = await deploy({
    ...options,
    preload: options.preload,
    replicas: options.ack === 'replica' ? 1 : 0,
    random: randomOf(options.seed, 'proxies'),
  });
  try {
    return await new Run(options, deployment).toVerdict();
  } finally {
    options.report('Stopping everything');
    await deployment.stop();
  }
}

class Run {
  readonly #options: RunOptions;
  readonly #deployment: Deployment;
  readonly #history = new History();
  readonly #operators: Operators;
  readonly #clients: Clients;
  readonly #settled: SettledWatch;

  constructor(options: RunOptions, deployment: Deployment) {
    const { instances } = deployment;
    const shared = { ...options, instances, history: this.#history };
    this.#options = options;
    this.#deployment = deployment;
    this.#operators = new Operators(shared);
    this.#settled = new SettledWatch(deployment);
    this.#clients = new Clients({ ...shared, count: options.clients });
  }

  async toVerdict(): Promise<RunResult> {
    const { report, signal } = this.#options;
    report('Waiting for both instances');
    await this.#whenReady();
    await this.#operators.begin(signal);
    try {
      const began = now();
      const { planned, happened: faults } = await this.#loadWithFaults();
      signal.throwIfAborted();
      const calm = now();
      report('Waiting for the recovery');
      const recovery = await whenRecovered(this.#deployment, calm, signal);
      const recovered = now();
      const { withheldUnits, releasedAt } = await this.#release();
      report('Everybody asks once more');
      await this.#operators.finish(signal);
      await this.#clients.askAllAgain(signal);
      signal.throwIfAborted();
      const ended = now();
      report('Checking');
      const { ack, redis } = this.#options;
      const settled = await this.#whenSettled(recovery);
      const final: FinalState = {
        ...settled,
        withheldUnits,
        circumstances: circumstancesOf(ack, redis !== 'always', faults, this.#settled.moments, releasedAt),
      };
      const verdict = check(this.#history.operations, final);
      const times = { began, calm, recovered, ended };
      return { verdict, history: this.#history.operations, final, planned, faults, times };
    } finally {
      await this.#clients.close();
    }
  }

  /** The load lasts as long as was asked for, and until the last fault is over, which may be a little later. */
  async #loadWithFaults(): Promise<{ planned: number; happened: HappenedFault[] }> {
    const { seed, durationMs, faults, report, signal } = this.#options;
    const planned = planFaults(seed, durationMs, faults);
    report(`Load for ${durationMs / 1_000} s with ${planned.length} faults`);
    // Timers of our own: on Node 20 a signal of AbortSignal.timeout that only AbortSignal.any holds may never fire.
    const [over, late] = [new AbortController(), new AbortController()];
    // Every client and operator listens.
    setMaxListeners(0, over.signal, late.signal, signal);
    const timer = setTimeout(() => late.abort(), durationMs + LATE_FAULTS_MS);
    const end = (): void => [over, late].forEach((controller) => controller.abort());
    signal.addEventListener('abort', end, { once: true });
    const load = Promise.all([
      this.#clients.run(this.#operators.generations, over.signal),
      this.#operators.run(over.signal),
      this.#settled.run(over.signal),
    ]);
    try {
      const stage = { deployment: this.#deployment, history: this.#history, signal, late: late.signal };
      const [happened] = await Promise.all([
        carryOut(planned, stage),
        delay(durationMs, undefined, { signal }).catch(() => undefined),
      ]);
      return { planned: planned.length, happened };
    } finally {
      over.abort();
      await load;
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
    }
  }

  /** What an operator does who knows that nobody else will come to tell: gives up the numbers and frees their units. */
  async #release(): Promise<Pick<FinalState, 'withheldUnits'> & { releasedAt: number | null }> {
    const { report, signal } = this.#options;
    const withheld = await readWithheld(this.#deployment);
    const withheldUnits = [...withheld.values()].reduce((sum, units) => sum + units, 0);
    await this.#settled.look();
    if (withheld.size === 0) return { withheldUnits, releasedAt: null };
    report(`Releasing ${withheldUnits} withheld units`);
    const releasedAt = now();
    await this.#operators.release([...withheld.keys()], signal);
    await whenRecovered(this.#deployment, now(), signal);
    return { withheldUnits, releasedAt };
  }

  /** After the last requests the outbox must empty once more. */
  async #whenSettled(recovery: FinalState['recovery']): Promise<Omit<FinalState, 'withheldUnits' | 'circumstances'>> {
    const { signal } = this.#options;
    const settled = await whenRecovered(this.#deployment, now(), signal);
    await this.#settled.look();
    const missing = [...recovery.missing, ...settled.missing];
    return {
      coupons: await readFinalCoupons(this.#deployment),
      recovery: { ...recovery, missing },
      audit: await auditAll(this.#deployment),
      repairs: await readRepairs(this.#deployment),
      ended: this.#deployment.surprises,
    };
  }

  async #whenReady(): Promise<void> {
    const { signal } = this.#options;
    const deadline = now() + START_LIMIT_MS;
    for (const instance of this.#deployment.instances) {
      while (!(await instance.isReady())) {
        if (this.#deployment.surprises.length > 0) throw new Error(this.#deployment.surprises.join('; '));
        if (now() > deadline) throw new Error(`instance ${instance.number} was not ready after ${START_LIMIT_MS} ms`);
        await delay(POLL_MS, undefined, { signal });
      }
    }
  }
}
