// What the part `generator` makes of its rounds: two tables, a sentence about what they say, and wrk's figures of the server's CPU
// for the targets. Pure.
import type { MeasuredLoad } from '../measured-load.js';
import type { Finding, PartContext, PartResult, ResultTable } from '../part.js';
import { microsOf } from '../service-cpu.js';
import type { Spread } from '../statistics.js';
import { spreadOf } from '../statistics.js';
import type { LoadName, Round, SourceName, Turn } from './turns.js';
import { LOADS, SOURCES } from './turns.js';

const FLOOR: LoadName = 'empty Fastify route';
const CLAIMS = ['granted claims', 'sold-out answers'] as const satisfies readonly LoadName[];
const [WRK, OWN] = SOURCES;

type Figure = (turn: Turn) => number;
const server: Figure = ({ measured }) => microsOf(measured.cpuMicrosPerClaim, 'http');
const perSecond: Figure = ({ measured }) => measured.claimsPerSecond;
const generator: Figure = ({ generatorMicros }) => generatorMicros;

export function resultOf(
  { requests, connections }: PartContext,
  rounds: readonly Round[],
  problems: readonly string[],
): PartResult {
  const over = (load: LoadName, source: SourceName, value: (measured: MeasuredLoad) => number): Spread =>
    spreadOf(rounds.map((round) => value(turnOf(round, load, source).measured)));
  const both: ResultTable = {
    title: "The same loads, by wrk and by the benchmark's own generator",
    columns: [
      ...['server, µs', 'against the empty route', 'Redis, µs', 'answers per second', 'p50, ms', 'p99, ms'],
      'the generator itself, µs',
    ],
    rows: LOADS.flatMap((load) =>
      SOURCES.map((source) => ({
        title: `${load}, by ${source}`,
        digits: 1,
        cells: [
          spreadOf(rounds.map((round) => server(turnOf(round, load, source)))),
          load === FLOOR ? 1 : twoDigits(spreadOf(rounds.map((round) => againstFloor(round, load, source)))),
          load === FLOOR ? undefined : over(load, source, ({ cpuMicrosPerClaim: cpu }) => microsOf(cpu, 'redis')),
          whole(over(load, source, ({ claimsPerSecond }) => claimsPerSecond)),
          over(load, source, ({ load: { latencyMs } }) => latencyMs.p50),
          over(load, source, ({ load: { latencyMs } }) => latencyMs.p99),
          spreadOf(rounds.map((round) => generator(turnOf(round, load, source)))),
        ],
      })),
    ),
    notes: [
      `${rounds.length} rounds in turns over ${connections} connections; ${requests} requests of the own generator, and two seconds of wrk, which is bound by time. CPU per answer.`,
      "wrk's connections are opened while it is measured, and up to one request of each is under way at its end: that is in its figures of CPU.",
    ],
  };
  const own: ResultTable = {
    title: "The benchmark's own generator against wrk",
    columns: ['server CPU', 'server CPU against the empty route', 'answers per second', 'CPU of the generator'],
    rows: LOADS.map((load) => ({
      title: load,
      digits: 2,
      cells: [
        ratio(rounds, load, server),
        load === FLOOR ? undefined : ratioOfRatios(rounds, load),
        ratio(rounds, load, perSecond),
        ratio(rounds, load, generator),
      ],
    })),
    notes: CLAIMS.map((load) => judgementOn(load, ratioOfRatios(rounds, load))),
  };
  const byWrk = (load: LoadName): Spread => spreadOf(rounds.map((round) => againstFloor(round, load, WRK)));
  const findings: Finding[] = [
    { target: 'cpuAgainstFloor', value: byWrk('granted claims') },
    { target: 'soldOutAgainstFloor', value: byWrk('sold-out answers') },
  ];
  return { tables: [both, own], pictures: [], findings, problems, raw: rounds };
}

/** Of the own generator's ratio to the empty route over wrk's, round by round. */
export function judgementOn(load: LoadName, { median, min, max }: Spread): string {
  const percent = Math.abs(100 * (median - 1)).toFixed(0);
  const side = median < 1 ? 'lower' : 'higher';
  return min <= 1 && max >= 1
    ? `${capital(load)} against the empty route: the own generator's ratio is ${percent} % ${side} than wrk's in the median, and rounds lie on both sides.`
    : `${capital(load)} against the empty route: the own generator's ratio is ${percent} % ${side} than wrk's, in every round. What this benchmark says of them is that much too ${median < 1 ? 'good' : 'bad'}, if wrk is right.`;
}

function ratio(rounds: readonly Round[], load: LoadName, figure: Figure): Spread {
  return spreadOf(rounds.map((round) => figure(turnOf(round, load, OWN)) / figure(turnOf(round, load, WRK))));
}

function ratioOfRatios(rounds: readonly Round[], load: LoadName): Spread {
  return spreadOf(rounds.map((round) => againstFloor(round, load, OWN) / againstFloor(round, load, WRK)));
}

function againstFloor(round: Round, load: LoadName, source: SourceName): number {
  return server(turnOf(round, load, source)) / server(turnOf(round, FLOOR, source));
}

function turnOf(round: Round, load: LoadName, source: SourceName): Turn {
  const found = round.find((turn) => turn.load === load && turn.source === source);
  if (found === undefined) throw new Error(`${load} by ${source} was not measured`);
  return found;
}

function capital(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}

function twoDigits({ median, min, max }: Spread): string {
  return `${median.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})`;
}

/** Of thousands nobody reads fractions. */
function whole({ median, min, max }: Spread): string {
  return `${median.toFixed(0)} (${min.toFixed(0)}–${max.toFixed(0)})`;
}
