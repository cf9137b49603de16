// What the measurement of the claim path reports: scenarios, one round of one of them, and the summary over rounds.
import type { Versions } from './databases.js';
import type { LoadResult } from './load-job.js';
import type { ProcessKind } from './service.js';
import type { Spread } from './statistics.js';
import { spreadOf } from './statistics.js';

export const SCENARIOS = ['baseline', 'claimed', 'already_claimed', 'sold_out'] as const;
export type Scenario = (typeof SCENARIOS)[number];

/** The one answer of a scenario; any other makes its figures worthless. */
const EXPECTED: Readonly<Record<Scenario, string>> = {
  baseline: '201 claimed',
  claimed: '201 claimed',
  already_claimed: '200 already_claimed',
  sold_out: '409 sold_out',
};

/** Of µs, one number per kind of process. The baseline has http processes only. */
export type CpuMicros = Partial<Readonly<Record<ProcessKind, number>>>;

export interface Round {
  readonly cpuMicrosPerRequest: CpuMicros;
  /** CPU of the http processes against the baseline of the same round; 1 for the baseline. */
  readonly httpRatio: number;
  readonly requestsPerSecond: number;
  readonly latencyMs: LoadResult['latencyMs'];
  readonly answers: LoadResult['answers'];
  readonly unanswered: number;
  /** Of the service. A lower bound: every EVALSHA counts, also those of ledger and jobs. */
  readonly claimsPerScriptCall?: number;
  /** Of claims that are granted: rows that the ledger wrote in one transaction. A lower bound, too. */
  readonly rowsPerCommit?: number;
  /** Share of the machine that nobody of ours used: other programs, the kernel's own work, the host. */
  readonly foreignCpuShare: number;
}

export interface ScenarioResult {
  readonly scenario: Scenario;
  readonly cpuMicrosPerRequest: Partial<Readonly<Record<ProcessKind, Spread>>>;
  readonly httpRatio: Spread;
  readonly requestsPerSecond: Spread;
  readonly latencyMs: { readonly p50: Spread; readonly p99: Spread };
  readonly claimsPerScriptCall?: Spread;
  readonly rowsPerCommit?: Spread;
  readonly foreignCpuShare: Spread;
  /** Sums over all rounds. */
  readonly answers: Readonly<Record<string, number>>;
  readonly unanswered: number;
  /** True when every request got the answer of its scenario. */
  readonly asExpected: boolean;
  readonly rounds: readonly Round[];
}

export interface ClaimsResult {
  readonly scenarios: readonly ScenarioResult[];
  /** What the service costs while nobody asks: it is part of every figure, not subtracted. */
  readonly idleCpuMicrosPerSecond: CpuMicros;
  readonly servers: Versions;
}

/** Throws when there is no round. */
export function summarize(scenario: Scenario, rounds: readonly Round[]): ScenarioResult {
  const over = (value: (round: Round) => number): Spread => spreadOf(rounds.map(value));
  const kinds = Object.keys(rounds[0]?.cpuMicrosPerRequest ?? {}) as ProcessKind[];
  const batches = rounds.flatMap((round) => round.claimsPerScriptCall ?? []);
  const commits = rounds.flatMap((round) => round.rowsPerCommit ?? []);
  const answers: Record<string, number> = {};
  for (const round of rounds) {
    for (const [answer, times] of Object.entries(round.answers)) answers[answer] = (answers[answer] ?? 0) + times;
  }
  const unanswered = rounds.reduce((sum, round) => sum + round.unanswered, 0);
  return {
    scenario,
    cpuMicrosPerRequest: Object.fromEntries(
      kinds.map((kind) => [kind, over((round) => round.cpuMicrosPerRequest[kind] ?? 0)]),
    ),
    httpRatio: over((round) => round.httpRatio),
    requestsPerSecond: over((round) => round.requestsPerSecond),
    latencyMs: { p50: over((round) => round.latencyMs.p50), p99: over((round) => round.latencyMs.p99) },
    ...(batches.length > 0 && { claimsPerScriptCall: spreadOf(batches) }),
    ...(commits.length > 0 && { rowsPerCommit: spreadOf(commits) }),
    foreignCpuShare: over((round) => round.foreignCpuShare),
    answers,
    unanswered,
    asExpected: unanswered === 0 && Object.keys(answers).every((answer) => answer === EXPECTED[scenario]),
    rounds,
  };
}
