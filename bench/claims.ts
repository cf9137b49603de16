// Measures the claim path through the whole service: CPU time of every process per request, scenario by scenario, in
// interleaved rounds (baseline, claimed, already_claimed, sold_out, baseline, …) so that whatever else the machine does
// meets all of them alike. Ratios are taken within a round.
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../platform/errors.js';
import type { BaselineReady } from './baseline-server.js';
import { Child } from './child.js';
import type { ClaimsResult, CpuMicros, Round, Scenario } from './claims-result.js';
import { SCENARIOS, summarize } from './claims-result.js';
import { cpuMicrosOf, machineTime } from './cpu.js';
import type { FromLoad, LoadJob, LoadResult, ToLoad } from './load-job.js';
import type { PartContext } from './part.js';
import type { ProcessKind, Service } from './service.js';
import { startService } from './service.js';

const CHILD_START_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 60_000;
/** Longer than the load generator's own limit for a job. */
const JOB_TIMEOUT_MS = 180_000;
const IDLE_MS = 2_000;

/** Starts everything, measures, and stops everything whatever happens. */
export async function measureClaims(options: PartContext): Promise<ClaimsResult> {
  const { report, signal, workers, execArgv } = options;
  const started: { stop(): Promise<void> }[] = [];
  try {
    report('Starting a service with Redis and MariaDB of its own');
    const service = await startService(options);
    started.push(service);
    const baseline = new Child({ script: 'baseline-server', args: [String(workers)], execArgv, signal });
    started.push(baseline);
    const { port, pids } = (await baseline.answer(CHILD_START_TIMEOUT_MS)) as BaselineReady;
    const load = new Child({ script: 'load', signal });
    started.push(load);
    const target = { url: `http://127.0.0.1:${port}`, pids: { http: pids } };
    return await new ClaimsBench(options, service, target, load).run();
  } finally {
    report('Stopping what was started');
    await stopAll(started.reverse());
  }
}

/** One after the other, the load first: the service waits for its connections to close. One failure stops no other. */
async function stopAll(running: readonly { stop(): Promise<void> }[]): Promise<void> {
  const failures: unknown[] = [];
  for (const one of running) await one.stop().catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw new AggregateError(failures, `could not stop everything: ${messageOf(failures[0])}`);
}

interface Target {
  readonly url: string;
  readonly pids: Partial<Readonly<Record<ProcessKind, readonly number[]>>>;
}

interface Reading {
  readonly cpu: CpuMicros;
  /** µs of everything that the benchmark runs. */
  readonly ours: number;
  /** µs of the machine. */
  readonly total: number;
  readonly busy: number;
}

class ClaimsBench {
  readonly #options: PartContext;
  readonly #service: Service;
  readonly #baseline: Target;
  readonly #load: Child;

  constructor(options: PartContext, service: Service, baseline: Target, load: Child) {
    this.#options = options;
    this.#service = service;
    this.#baseline = baseline;
    this.#load = load;
  }

  async run(): Promise<ClaimsResult> {
    const { rounds, report } = this.#options;
    report('Preparing coupons');
    await this.#prepare();
    // Lets compilers and caches settle, and counts for nothing.
    report('Warming up');
    for (const scenario of SCENARIOS) await this.#measure(scenario, 0);

    const measured: Record<Scenario, Round[]> = { baseline: [], claimed: [], already_claimed: [], sold_out: [] };
    for (let round = 1; round <= rounds; round++) {
      report(`Round ${round} of ${rounds}`);
      let baselineMicros = NaN;
      for (const scenario of SCENARIOS) {
        const result = await this.#measure(scenario, round);
        const httpMicros = result.cpuMicrosPerRequest.http ?? NaN;
        if (scenario === 'baseline') baselineMicros = httpMicros;
        measured[scenario].push({ ...result, httpRatio: httpMicros / baselineMicros });
      }
    }
    return {
      scenarios: SCENARIOS.map((scenario) => summarize(scenario, measured[scenario])),
      idleCpuMicrosPerSecond: await this.#measureIdle(),
      servers: this.#service.versions,
    };
  }

  /** One coupon per scenario: with stock for all rounds, claimed by all its users, and sold out. */
  async #prepare(): Promise<void> {
    const { requests, rounds } = this.#options;
    const { url } = this.#service;
    await this.#service.createCoupon('claimed', requests * (rounds + 1));
    await this.#service.createCoupon('already_claimed', requests);
    await this.#service.createCoupon('sold_out', 1);
    await this.#drive({ url, couponId: 'already_claimed', userPrefix: usersOf('already_claimed', 0), requests });
    await this.#drive({ url, couponId: 'sold_out', userPrefix: 'winner-', requests: 1 });
  }

  async #measure(scenario: Scenario, round: number): Promise<Omit<Round, 'httpRatio'>> {
    const { requests } = this.#options;
    const ofService = scenario !== 'baseline';
    const target = ofService ? this.#service : this.#baseline;
    const { databases } = this.#service;
    if (ofService) await databases.whenWritten();
    const counted = await databases.counters();
    let before: Reading | undefined;
    const job = { url: target.url, couponId: scenario, userPrefix: usersOf(scenario, round), requests };
    const result = await this.#drive(job, () => (before = this.#read(target)));
    // A claim has cost all that it costs when its row is written.
    if (ofService) await databases.whenWritten();
    const after = this.#read(target);
    if (before === undefined) throw new Error('the load began before it was measured');
    const { scriptCalls, commits } = await databases.counters();
    const { latencyMs, answers, unanswered, durationMs } = result;
    return {
      cpuMicrosPerRequest: cpuPer(requests, before, after),
      requestsPerSecond: (requests / durationMs) * 1_000,
      latencyMs,
      answers,
      unanswered,
      ...(ofService && { claimsPerScriptCall: requests / (scriptCalls - counted.scriptCalls) }),
      ...(scenario === 'claimed' && { rowsPerCommit: requests / (commits - counted.commits) }),
      foreignCpuShare: foreignShare(before, after),
    };
  }

  async #measureIdle(): Promise<CpuMicros> {
    const before = this.#read(this.#service);
    const startedAt = performance.now();
    await delay(IDLE_MS, undefined, { signal: this.#options.signal });
    return cpuPer((performance.now() - startedAt) / 1_000, before, this.#read(this.#service));
  }

  /** One job of the load generator; `beforeGo` runs when its connections are open and no request is under way. */
  async #drive(job: Omit<LoadJob, 'connections'>, beforeGo?: () => void): Promise<LoadResult> {
    const { connections } = this.#options;
    await this.#askLoad('connected', { kind: 'connect', ...job, connections }, CONNECT_TIMEOUT_MS);
    beforeGo?.();
    return await this.#askLoad('done', { kind: 'go' }, JOB_TIMEOUT_MS);
  }

  async #askLoad<K extends FromLoad['kind']>(
    kind: K,
    message: ToLoad,
    limitMs: number,
  ): Promise<Extract<FromLoad, { kind: K }>> {
    const answer = (await this.#load.answer(limitMs, message)) as FromLoad;
    if (answer.kind !== kind) throw new Error(`expected ${kind}, got ${answer.kind}`);
    return answer as Extract<FromLoad, { kind: K }>;
  }

  #read({ pids }: Target): Reading {
    const entries = Object.entries(pids) as [ProcessKind, readonly number[]][];
    const cpu = Object.fromEntries(entries.map(([kind, list]) => [kind, cpuMicrosOfAll(list)]));
    const all = [...Object.values(this.#service.pids), ...Object.values(this.#baseline.pids)].flat();
    return { cpu, ours: cpuMicrosOfAll([...all, this.#load.pid, process.pid]), ...machineTime() };
  }
}

/** Users who ask again are the same in every round; all others are new. */
function usersOf(scenario: Scenario, round: number): string {
  return scenario === 'already_claimed' ? 'again-' : `${scenario}-${round}-`;
}

function cpuMicrosOfAll(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + cpuMicrosOf(pid), 0);
}

function cpuPer(units: number, before: Reading, after: Reading): CpuMicros {
  const kinds = Object.keys(after.cpu) as ProcessKind[];
  return Object.fromEntries(kinds.map((kind) => [kind, ((after.cpu[kind] ?? 0) - (before.cpu[kind] ?? 0)) / units]));
}

/** Never below 0: the kernel rounds the parts and the whole differently. */
function foreignShare(before: Reading, after: Reading): number {
  const foreign = after.busy - before.busy - (after.ours - before.ours);
  return Math.max(0, foreign / (after.total - before.total));
}
