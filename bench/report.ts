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
const PROCESSES: readonly (readonly [ProcessKind, string])[] = [
  ['http', 'http workers'],
  ['redis', 'Redis'],
  ['ledger', 'ledger'],
  ['mariadb', 'MariaDB'],
];

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
    head: ['', ...scenarios.map(({ scenario }) => scenario)],
    colAligns: ['left', ...scenarios.map(() => 'right' as const)],
  });
  const row = (title: string, digits: number, value: (scenario: ScenarioResult) => Spread | undefined): void => {
    table.push([title, ...scenarios.map((scenario) => spreadText(value(scenario), digits))]);
  };
  for (const [kind, title] of PROCESSES)
    row(`${title}, µs of CPU`, 1, (scenario) => scenario.cpuMicrosPerRequest[kind]);
  row('http against baseline', 2, ({ httpRatio }) => httpRatio);
  row('claims per script call', 0, ({ claimsPerScriptCall }) => claimsPerScriptCall);
  row('rows per transaction', 0, ({ rowsPerCommit }) => rowsPerCommit);
  row('requests per second', 0, ({ requestsPerSecond }) => requestsPerSecond);
  row('latency p50, ms', 1, ({ latencyMs }) => latencyMs.p50);
  row('latency p99, ms', 1, ({ latencyMs }) => latencyMs.p99);

  const { rounds, requests, connections, workers } = options;
  const foreign = Math.max(...scenarios.map((scenario) => scenario.foreignCpuShare.median));
  return [
    `Per request: median (lowest to highest) of ${rounds} interleaved rounds of ${requests} requests`,
    `over ${connections} connections, ${workers} http ${workers === 1 ? 'worker' : 'workers'}:`,
    table.toString(),
    `One clock tick is ${(RESOLUTION_MICROS / requests).toFixed(2)} µs per request. The idle service uses ${idleText(idleCpuMicrosPerSecond)}.`,
    `Others used up to ${(foreign * 100).toFixed(0)} % of the machine (median of a scenario): above 20 %, repeat it on a quieter one.`,
    ...scenarios.filter((scenario) => !scenario.asExpected).map(complaintOf),
  ].join('\n');
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
