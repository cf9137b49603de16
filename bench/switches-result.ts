// What the part `switches` makes of its measurements: tables, a picture and the finding. Pure.
import type { MeasuredLoad } from './measured-load.js';
import type { PartContext, PartResult, ResultTable } from './part.js';
import type { ProcessKind } from './service.js';
import { microsOf } from './service-cpu.js';
import type { Spread } from './statistics.js';
import { spreadOf } from './statistics.js';
import type { Measurements } from './switches.js';
import { BARE, FLOOR_TITLE, floorOf, ON, OTHER_NODE_TITLE } from './switches.js';

const SCHEDULING = ['kernel', 'round-robin'];

export function switchesResult(
  measured: Measurements,
  problems: readonly string[],
  notes: readonly string[],
  { requests, connections }: PartContext,
): PartResult {
  const titles = [...measured.keys()].filter((title) => !title.startsWith(FLOOR_TITLE) && !SCHEDULING.includes(title));
  const of = (title: string): readonly MeasuredLoad[] => measured.get(title) ?? [];
  /** Start by start; of what ran on the service with everything on, too. */
  const ratio = (title: string, other: string): Spread =>
    spreadOf(of(title).map((one, start) => cpuOf('http')(one) / cpuAt(of(other), start)));
  const beside = (title: string): string => (measured.has(floorOf(title)) ? floorOf(title) : floorOf(ON));
  const over = (title: string, value: (one: MeasuredLoad) => number): Spread => spreadOf(of(title).map(value));
  const floors = [
    { title: FLOOR_TITLE, measuredAs: floorOf(ON) },
    { title: `${FLOOR_TITLE}, ${OTHER_NODE_TITLE}`, measuredAs: floorOf(OTHER_NODE_TITLE) },
  ].filter(({ measuredAs }) => measured.has(measuredAs));
  const common = (title: string) => [
    whole(over(title, ({ claimsPerSecond }) => claimsPerSecond)),
    over(title, ({ load }) => load.latencyMs.p99),
  ];

  const variants: ResultTable = {
    title: 'What each part of the service costs',
    columns: [
      'http, µs',
      'against the empty route',
      'against everything on',
      'Redis, µs',
      'claims per second',
      'p99, ms',
    ],
    rows: [
      ...titles.map((title) => ({
        title,
        digits: 2,
        cells: [
          over(title, cpuOf('http')),
          ratio(title, beside(title)),
          title === ON ? 1 : ratio(title, ON),
          over(title, cpuOf('redis')),
          ...common(title),
        ],
      })),
      ...floors.map(({ title, measuredAs }) => ({
        title,
        digits: 2,
        cells: [
          over(measuredAs, cpuOf('http')),
          ratio(measuredAs, floorOf(ON)),
          undefined,
          undefined,
          ...common(measuredAs),
        ],
      })),
    ],
    notes: [
      `CPU per claim over all processes of a kind; ${of(ON).length} fresh starts of each, ${requests} claims over ${connections} connections.`,
      'Everything on: metrics, diagnostics, the log at level info, the ledger, and a gateway that proves itself by its token; the default, and the token. The empty route gets the same requests.',
      'Each service ran beside an empty route of its own on the same Node, started after it.',
      'Levels and many coupons were loaded on the service with everything on, which acknowledges at level fsync.',
      ...notes,
    ],
  };
  const scheduling: ResultTable = {
    title: 'Who hands out connections to two workers, by the empty route',
    columns: ['workers, µs', 'primary, µs', 'requests per second', 'p99, ms'],
    rows: SCHEDULING.map((title) => ({
      title,
      digits: 2,
      cells: [over(title, cpuOf('http')), over(title, cpuOf('primary')), ...common(title)],
    })),
    notes: ['Connections are opened before the clock runs and kept.'],
  };
  return {
    tables: [variants, scheduling],
    pictures: [
      {
        name: 'switches',
        title: 'CPU per claim of the http workers, by what is switched off or on',
        kind: 'bars',
        x: { title: '' },
        y: { title: 'against everything on' },
        points: titles.filter((title) => title !== ON).map((x) => ({ series: 'http', x, y: ratio(x, ON) })),
      },
    ],
    findings: [{ target: 'cpuBareAgainstFloor', value: ratio(BARE, floorOf(BARE)) }],
    problems,
    raw: Object.fromEntries(measured),
  };
}

function cpuOf(kind: ProcessKind) {
  return ({ cpuMicrosPerClaim }: MeasuredLoad): number => microsOf(cpuMicrosPerClaim, kind);
}

function cpuAt(loads: readonly MeasuredLoad[], start: number): number {
  const one = loads[start];
  return one === undefined ? NaN : cpuOf('http')(one);
}

/** Of thousands nobody reads fractions. */
function whole({ median, min, max }: Spread): string {
  return `${median.toFixed(0)} (${min.toFixed(0)}–${max.toFixed(0)})`;
}
