// The part `claims`: the claim path of the whole service against a route that does nothing, as a table. How it is measured is
// in claims.ts.
import type { CpuMicros, ScenarioResult } from './claims-result.js';
import { measureClaims } from './claims.js';
import { RESOLUTION_MICROS } from './cpu.js';
import type { Part, ResultTable } from './part.js';
import type { ProcessKind } from './service.js';
import type { Spread } from './statistics.js';

const PROCESSES: readonly (readonly [ProcessKind, string])[] = [
  ['http', 'http workers'],
  ['redis', 'Redis'],
  ['ledger', 'ledger'],
  ['mariadb', 'MariaDB'],
];

export const CLAIMS: Part = {
  name: 'claims',
  description:
    'CPU of every process per request: claimed, already claimed and sold out, against an empty Fastify route',
  minutes: 2,
  async measure(context) {
    const result = await measureClaims(context);
    const { scenarios, idleCpuMicrosPerSecond } = result;
    const { rounds, requests, connections, workers } = context;
    const row = (title: string, digits: number, value: (scenario: ScenarioResult) => Spread | undefined) => ({
      title,
      digits,
      cells: scenarios.map(value),
    });
    const table: ResultTable = {
      title: 'A claim in every process',
      columns: scenarios.map(({ scenario }) => scenario),
      rows: [
        ...PROCESSES.map(([kind, title]) =>
          row(`${title}, µs of CPU per request`, 1, (scenario) => scenario.cpuMicrosPerRequest[kind]),
        ),
        row('http against baseline', 2, ({ httpRatio }) => httpRatio),
        row('claims per script call', 0, ({ claimsPerScriptCall }) => claimsPerScriptCall),
        row('rows per transaction', 0, ({ rowsPerCommit }) => rowsPerCommit),
        row('requests per second', 0, ({ requestsPerSecond }) => requestsPerSecond),
        row('latency p50, ms', 1, ({ latencyMs }) => latencyMs.p50),
        row('latency p99, ms', 1, ({ latencyMs }) => latencyMs.p99),
      ],
      notes: [
        `${rounds} interleaved ${rounds === 1 ? 'round' : 'rounds'} of ${requests} requests over ${connections} connections, ${workers} http ${workers === 1 ? 'worker' : 'workers'}.`,
        `One clock tick is ${(RESOLUTION_MICROS / requests).toFixed(2)} µs per request.`,
        `The idle service uses ${idleText(idleCpuMicrosPerSecond)}; it is part of every figure.`,
      ],
    };
    const problems = scenarios.filter(({ asExpected }) => !asExpected).map(complaintOf);
    return { tables: [table], pictures: [], findings: [], problems, raw: result };
  },
};

function complaintOf({ scenario, answers, unanswered }: ScenarioResult): string {
  return `${scenario} heard ${JSON.stringify(answers)}, ${unanswered} without an answer`;
}

function idleText(idle: CpuMicros): string {
  const parts = Object.entries(idle).map(([kind, micros]) => `${kind} ${(micros / 1_000).toFixed(0)}`);
  return `${parts.join(', ')} ms of CPU per second`;
}
