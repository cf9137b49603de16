// Tables of a run as rows of text, for the terminal and for Markdown alike. Pure.
import type { Cell, ResultTable } from '../part.js';
import type { BenchRun, PartRun, RunBefore } from '../run.js';
import type { Spread } from '../statistics.js';
import { repeatOf, sameVerdict } from './repeat.js';
import type { Verdict } from './verdicts.js';
import { verdictsOf } from './verdicts.js';

/** The first column is text, the others are figures. */
export interface TextTable {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** Above it the figures of a part are worth a second run on a quieter machine. */
const FOREIGN_SHARE_MAX = 0.2;

export function cellsOf({ columns, rows }: ResultTable): TextTable {
  return {
    head: ['', ...columns],
    rows: rows.map(({ title, digits, cells }) => [title, ...cells.map((cell) => cellText(cell, digits))]),
  };
}

export function verdictCells(verdicts: readonly Verdict[]): TextTable {
  return {
    head: ['target', 'bound', 'median', 'lowest to highest', 'verdict'],
    rows: verdicts.map(({ what, unit, bound, value, verdict, close }) => [
      what,
      bound,
      medianText(value?.median, unit),
      value === undefined || value.min === value.max ? '' : `${figure(value.min)}–${figure(value.max)}`,
      close ? `${verdict}, not in every round` : verdict,
    ]),
  };
}

/** With what the run before said. */
export function repeatedVerdictCells(verdicts: readonly Verdict[], before: RunBefore): TextTable {
  const { head, rows } = verdictCells(verdicts);
  return {
    head: [...head, 'median before', 'same verdict'],
    rows: verdicts.map((verdict, index) => [
      ...(rows[index] ?? []),
      medianText(before.verdicts[verdict.name]?.median, verdict.unit),
      sameVerdict(verdict, before),
    ]),
  };
}

export function partCells(parts: readonly PartRun[]): TextTable {
  return {
    head: ['part', 'minutes', 'of the machine used by others'],
    rows: parts.map(({ name, durationMs, foreignCpuShare }) => [
      name,
      (durationMs / 60_000).toFixed(1),
      percent(foreignCpuShare),
    ]),
  };
}

/** One sentence each. */
export function circumstancesOf(run: BenchRun): string[] {
  const { startedAt, machine, loadAverage, scale, rounds, parts, before: runBefore } = run;
  const disturbed = parts.filter(({ foreignCpuShare }) => foreignCpuShare > FOREIGN_SHARE_MAX);
  const named = disturbed.map(({ name, foreignCpuShare }) => `${name} (${percent(foreignCpuShare)})`);
  const { cores, cpu, memoryGib, kernel, node, redis, mariadb, commit } = machine;
  const [before, after] = loadAverage.map((load) => load.toFixed(2));
  return [
    `${cores} cores (${cpu}), ${memoryGib} GiB of memory, Linux ${kernel}.`,
    `Node ${node}, Redis ${redis}, MariaDB ${mariadb}, Stampede at commit ${commit}.`,
    `${startedAt.slice(0, 10)}, ${rounds} ${rounds === 1 ? 'round' : 'rounds'}, load average ${before} before and ${after} after.`,
    named.length === 0
      ? `In no part others used more than ${percent(FOREIGN_SHARE_MAX)} of the machine.`
      : `Others used more than ${percent(FOREIGN_SHARE_MAX)} of the machine in ${named.join(', ')}: repeat that on a quieter one.`,
    ...(runBefore === undefined ? [] : [repeatOf(verdictsOf(run), runBefore)]),
    ...(scale === 'short' ? ['A short run: it shows that everything runs, and its figures mean nothing.'] : []),
  ];
}

/** Of parts that have no result, and why. */
export function problemsOf(parts: readonly PartRun[]): string[] {
  return parts.flatMap(({ name, problems }) => problems.map((problem) => `${name} has no result: ${problem}`));
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}

function cellText(cell: Cell, digits: number): string {
  if (cell === undefined || cell === null) return '';
  if (typeof cell === 'string') return cell;
  if (typeof cell === 'number') return cell.toFixed(digits);
  return spreadText(cell, digits);
}

function spreadText({ median, min, max }: Spread, digits: number): string {
  if (min === max) return median.toFixed(digits);
  return `${median.toFixed(digits)} (${min.toFixed(digits)}–${max.toFixed(digits)})`;
}

function medianText(median: number | undefined, unit: string): string {
  return median === undefined ? '' : `${figure(median)} ${unit}`.trim();
}

/** Three significant digits, and no fewer than the whole number has. */
function figure(value: number): string {
  const magnitude = Math.abs(value);
  if (magnitude >= 100 || Number.isInteger(value)) return value.toFixed(0);
  return value.toFixed(magnitude >= 10 ? 1 : 2);
}
