// What the part `peers` makes of its rounds: tables, pictures and findings. Pure.
import { RESOLUTION_MICROS } from '../cpu.js';
import type { Counters } from '../databases.js';
import type { MeasuredLoad } from '../measured-load.js';
import type { Finding, PartContext, PartResult, Picture, ResultTable } from '../part.js';
import type { CpuMicros } from '../service-cpu.js';
import { microsOf } from '../service-cpu.js';
import type { ProcessKind } from '../service.js';
import type { Spread } from '../statistics.js';
import { spreadOf } from '../statistics.js';
import type { PeerRounds } from './peers.js';

export const FLOOR = 'empty Fastify route';
export const USUAL = 'usual design';
export const OURS = 'Stampede';

const PROCESSES: readonly (readonly [ProcessKind, string])[] = [
  ['http', 'server'],
  ['redis', 'Redis'],
  ['ledger', 'ledger or queue worker'],
  ['mariadb', 'MariaDB'],
];

export function resultOf(
  all: readonly PeerRounds[],
  idle: CpuMicros,
  problems: readonly string[],
  context: PartContext,
): PartResult {
  const granted = all.filter(({ path }) => path === 'granted');
  const floor = pick(granted, FLOOR);
  const soldOut = [floor, ...all.filter(({ path }) => path === 'sold out')];
  const again = [floor, ...all.filter(({ path }) => path === 'asked again')];
  return {
    tables: [
      tableOf('Claims that are granted, side by side', granted, context, [
        'The service has everything on, the gateway token, too; all of them get the same requests, and no other looks for the token.',
        `The idle service uses ${idleText(idle)}; it is part of every figure.`,
      ]),
      tableOf('Answers after the last coupon is gone, side by side', soldOut, context),
      tableOf('Answers to users who ask again, side by side', again, context),
    ],
    pictures: [
      cpuPicture('cpu-per-claim', 'CPU time per granted claim, until its row is in MySQL', granted),
      cpuPicture('cpu-per-sold-out', 'CPU time per sold-out answer', soldOut),
      picture('throughput', 'Granted claims per second', 'claims per second', granted, [
        ['answered', (one) => one.claimsPerSecond],
        ['row in MySQL', (one) => one.writtenPerSecond],
      ]),
      picture('latency-peers', 'Latency of granted claims under full load', 'ms', granted, [
        ['p50', (one) => one.load.latencyMs.p50],
        ['p99', (one) => one.load.latencyMs.p99],
      ]),
    ],
    findings: findingsOf(granted, soldOut),
    problems,
    raw: { idle, contestants: all.map(({ name, path, rounds }) => ({ name, path, rounds })) },
  };
}

function findingsOf(granted: readonly PeerRounds[], soldOut: readonly PeerRounds[]): Finding[] {
  const [usual, ours] = [pick(granted, USUAL), pick(granted, OURS)];
  const gone = pick(soldOut, OURS);
  return [
    { target: 'redisCpuAgainstUsual', value: ratio(ours, usual, cpuOf('redis')) },
    { target: 'throughputAgainstUsual', value: ratio(ours, usual, (one) => one.writtenPerSecond) },
    { target: 'soldOutRedisCpu', value: spreadOf(gone.rounds.map(cpuOf('redis'))) },
  ];
}

function tableOf(
  title: string,
  columns: readonly PeerRounds[],
  context: PartContext,
  notes: readonly string[] = [],
): ResultTable {
  const { rounds, requests, connections, workers } = context;
  const [floor] = columns;
  const row = (rowTitle: string, digits: number, value: (column: PeerRounds) => Spread | undefined) => ({
    title: rowTitle,
    digits,
    cells: columns.map(value),
  });
  const over = (value: (one: MeasuredLoad) => number) => (column: PeerRounds) => spreadOf(column.rounds.map(value));
  return {
    title,
    columns: columns.map(({ name }) => name),
    rows: [
      ...PROCESSES.map(([kind, process]) =>
        row(`${process}, µs of CPU per request`, 1, (column) =>
          has(column, kind) ? over(cpuOf(kind))(column) : undefined,
        ),
      ),
      row('all of them, µs of CPU per request', 1, (column) => {
        const kinds = PROCESSES.flatMap(([kind]) => (has(column, kind) ? [cpuOf(kind)] : []));
        return over((one) => kinds.reduce((sum, micros) => sum + micros(one), 0))(column);
      }),
      row('server against the empty route', 2, (column) => floor && ratio(column, floor, cpuOf('http'))),
      row(
        'answers per second',
        0,
        over((one) => one.claimsPerSecond),
      ),
      row('rows in MySQL included, per second', 0, (column) =>
        column.path === 'granted' && has(column, 'mariadb') ? over((one) => one.writtenPerSecond)(column) : undefined,
      ),
      row('requests per script call', 0, (column) => per(column, requests, ({ scriptCalls }) => scriptCalls)),
      row('rows per transaction', 0, (column) =>
        column.path === 'granted' ? per(column, requests, ({ commits }) => commits) : undefined,
      ),
      row(
        'latency p50, ms',
        1,
        over((one) => one.load.latencyMs.p50),
      ),
      row(
        'latency p99, ms',
        1,
        over((one) => one.load.latencyMs.p99),
      ),
    ],
    notes: [
      `${rounds} interleaved ${rounds === 1 ? 'round' : 'rounds'} of ${requests} requests over ${connections} connections, each with one request at a time; ${workers} server ${workers === 1 ? 'process' : 'processes'} each.`,
      `${(RESOLUTION_MICROS / requests).toFixed(2)} µs per request is one tick of the kernel's clock.`,
      ...notes,
    ],
  };
}

function cpuPicture(name: string, title: string, columns: readonly PeerRounds[]): Picture {
  const points = columns.flatMap((column) =>
    PROCESSES.filter(([kind]) => has(column, kind)).map(([kind, process]) => ({
      ...{ series: process, x: column.name },
      y: spreadOf(column.rounds.map(cpuOf(kind))),
    })),
  );
  return barsOf(name, title, 'µs of CPU per request', points);
}

function picture(
  name: string,
  title: string,
  unit: string,
  columns: readonly PeerRounds[],
  series: readonly (readonly [string, (one: MeasuredLoad) => number])[],
): Picture {
  const points = columns.flatMap((column) =>
    series.map(([of, value]) => ({ series: of, x: column.name, y: spreadOf(column.rounds.map(value)) })),
  );
  return barsOf(name, title, unit, points);
}

function barsOf(name: string, title: string, unit: string, points: Picture['points']): Picture {
  return { name, title, kind: 'bars', x: { title: '' }, y: { title: unit }, points };
}

/** Within each round. */
function ratio(one: PeerRounds, other: PeerRounds, value: (one: MeasuredLoad) => number): Spread {
  return spreadOf(one.rounds.map((one, round) => value(one) / valueAt(other, round, value)));
}

function valueAt({ rounds }: PeerRounds, round: number, value: (one: MeasuredLoad) => number): number {
  const one = rounds[round];
  return one === undefined ? NaN : value(one);
}

function cpuOf(kind: ProcessKind) {
  return ({ cpuMicrosPerClaim }: MeasuredLoad): number => microsOf(cpuMicrosPerClaim, kind);
}

/** Requests for each of what the databases counted, if anything. A lower bound: what ledger and jobs do meanwhile counts, too. */
function per(column: PeerRounds, requests: number, count: (counted: Counters) => number): Spread | undefined {
  const counts = column.rounds.flatMap(({ counted }) => (counted === undefined ? [] : count(counted)));
  return counts.length === 0 || counts.includes(0) ? undefined : spreadOf(counts.map((each) => requests / each));
}

function idleText(idle: CpuMicros): string {
  const parts = Object.entries(idle).map(([kind, micros]) => `${kind} ${(micros / 1_000).toFixed(0)}`);
  return `${parts.join(', ')} ms of CPU per second`;
}

/** Whether there are such processes; where there are, a reading that is missing is an error. */
function has({ rounds }: PeerRounds, kind: ProcessKind): boolean {
  return rounds.some(({ cpuMicrosPerClaim }) => cpuMicrosPerClaim[kind] !== undefined);
}

function pick(all: readonly PeerRounds[], wanted: string): PeerRounds {
  const found = all.find(({ name }) => name === wanted);
  if (found === undefined) throw new Error(`${wanted} was not measured`);
  return found;
}
