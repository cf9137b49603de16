// How the benchmark's results look to people: tables of medians, and what is needed to judge them. Pure text.
import Table from 'cli-table3';
import type { CpuMicros, ClaimsResult, ScenarioResult } from './claims-result.js';
import { RESOLUTION_MICROS } from './cpu.js';
import type { ScriptResult } from './scripts.js';
import { BATCH_SIZES } from './scripts.js';
import type { ProcessKind } from './service.js';
import type { Spread } from './statistics.js';

/** Everything that is measured, as `--json` prints it. */
export interface BenchResult {
  /** ISO 8601. */
  readonly startedAt: string;
  readonly durationMs: number;
  readonly machine: {
    readonly cores: number;
    readonly cpu: string;
    readonly kernel: string;
    readonly node: string;
    /** Of one minute, before and after. */
    readonly loadAverage: readonly [number, number];
  };
  readonly options: {
    readonly rounds: number;
    readonly requests: number;
    readonly connections: number;
    readonly workers: number;
  };
  readonly claims?: ClaimsResult;
  readonly scripts?: readonly ScriptResult[];
}

const PLAIN = { style: { head: [], border: [] } };
const COLUMNS: readonly ProcessKind[] = ['http', 'redis', 'ledger', 'mariadb'];

export function describe(result: BenchResult): string {
  const { machine, claims, scripts } = result;
  const parts = [
    `${machine.cores} cores (${machine.cpu}), Linux ${machine.kernel}, Node ${machine.node}` +
      (claims === undefined ? '' : `, Redis ${claims.servers.redis}, MariaDB ${claims.servers.mariadb}`),
  ];
  if (claims !== undefined) parts.push(describeClaims(claims, result.options));
  if (scripts !== undefined) parts.push(describeScripts(scripts));
  return parts.join('\n\n');
}

function describeClaims({ scenarios, idleCpuMicrosPerSecond }: ClaimsResult, options: BenchResult['options']): string {
  const table = new Table({
    ...PLAIN,
    head: ['scenario', 'http', '/ baseline', 'Redis', 'ledger', 'MariaDB', 'claims/call', 'req/s', 'p50 ms', 'p99 ms'],
    colAligns: ['left', ...Array<'right'>(9).fill('right')],
  });
  for (const scenario of scenarios) table.push(rowOf(scenario));
  const { rounds, requests, connections, workers } = options;
  const foreign = Math.max(...scenarios.map((scenario) => scenario.foreignCpuShare.median));
  return [
    `µs of CPU per request by process: median (lowest to highest) of ${rounds} interleaved rounds of ${requests} requests`,
    `over ${connections} connections, ${workers} http ${workers === 1 ? 'worker' : 'workers'}:`,
    table.toString(),
    `One clock tick is ${(RESOLUTION_MICROS / requests).toFixed(2)} µs per request. The idle service uses ${idleText(idleCpuMicrosPerSecond)}.`,
    `Not ours: up to ${(foreign * 100).toFixed(0)} % of the machine (median of a scenario).`,
    ...scenarios.filter((scenario) => !scenario.asExpected).map(complaintOf),
  ].join('\n');
}

function rowOf(scenario: ScenarioResult): string[] {
  const { cpuMicrosPerRequest, httpRatio, claimsPerScriptCall, requestsPerSecond, latencyMs } = scenario;
  return [
    scenario.scenario,
    ...[spreadText(cpuMicrosPerRequest.http, 1), spreadText(httpRatio, 2)],
    ...COLUMNS.slice(1).map((kind) => spreadText(cpuMicrosPerRequest[kind], 1)),
    claimsPerScriptCall?.median.toFixed(0) ?? '',
    requestsPerSecond.median.toFixed(0),
    latencyMs.p50.median.toFixed(1),
    latencyMs.p99.median.toFixed(1),
  ];
}

function describeScripts(scripts: readonly ScriptResult[]): string {
  const rows = new Map<string, ScriptResult[]>();
  for (const result of scripts) {
    const row = `${result.outcome}, ${result.persistence === 'none' ? 'nothing on disk' : 'appendfsync always'}`;
    rows.set(row, [...(rows.get(row) ?? []), result]);
  }
  const table = new Table({
    ...PLAIN,
    head: ['batches of', ...BATCH_SIZES.map(String)],
    colAligns: ['left', ...BATCH_SIZES.map(() => 'right' as const)],
  });
  for (const [row, results] of rows) {
    const cells = BATCH_SIZES.map(
      (size) => results.find(({ batchSize }) => batchSize === size)?.redisCpuMicrosPerClaim,
    );
    table.push([row, ...cells.map((cell) => spreadText(cell, 2))]);
  }
  return `lua/claim.lua alone, µs of redis-server per claim: median (lowest to highest)\n${table.toString()}`;
}

function complaintOf({ scenario, answers, unanswered }: ScenarioResult): string {
  return `NOT AS EXPECTED: ${scenario} heard ${JSON.stringify(answers)}, ${unanswered} without an answer.`;
}

function idleText(idle: CpuMicros): string {
  const parts = Object.entries(idle).map(([kind, micros]) => `${kind} ${(micros / 1_000).toFixed(0)}`);
  return `${parts.join(', ')} ms of CPU per second`;
}

function spreadText(spread: Spread | undefined, digits: number): string {
  if (spread === undefined) return '';
  const { median, min, max } = spread;
  if (min === max) return median.toFixed(digits);
  return `${median.toFixed(digits)} (${min.toFixed(digits)}–${max.toFixed(digits)})`;
}
