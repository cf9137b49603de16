// A saved run as Markdown: the page of bench/results/, and what the README shows of it. Pure.
import type { Picture } from '../part.js';
import type { BenchRun, PartRun } from '../run.js';
import { soundResultOf } from '../run.js';
import type { TextTable } from './cells.js';
import { cellsOf, circumstancesOf, partCells, problemsOf, repeatedVerdictCells, verdictCells } from './cells.js';
import { verdictsOf } from './verdicts.js';

/** Between them stands what `npm run bench -- --save` writes into the README. */
const README_BEGIN = '<!-- benchmark: written by `npm run bench -- --save` -->';
const README_END = '<!-- end of benchmark -->';
/** Of these the README shows those that there are. */
const README_PICTURES = ['cpu-per-claim', 'throughput'];

export const RAW_FILE = 'run.json.gz';

export function pageOf(run: BenchRun): string {
  const verdicts = verdictsOf(run);
  return [
    '# Results of the benchmark',
    'Written by `npm run bench -- --save`; [how it measures](../README.md). ' +
      `Figures are medians (lowest–highest) over rounds. Every round of everything: [${RAW_FILE}](${RAW_FILE}).`,
    circumstancesOf(run).join(' '),
    '## Targets',
    tableOf(run.before === undefined ? verdictCells(verdicts) : repeatedVerdictCells(verdicts, run.before)),
    ...run.parts.flatMap((part) => [`## ${part.name}`, ...problemsOf([part]), ...shownOf(part)]),
    '## The machine meanwhile',
    tableOf(partCells(run.parts)),
  ].join('\n\n');
}

function shownOf(part: PartRun): string[] {
  const { tables = [], pictures = [] } = soundResultOf(part) ?? {};
  return [
    ...tables.flatMap((table) => [`### ${table.title}`, tableOf(cellsOf(table)), table.notes.join(' ')]),
    ...pictures.map((picture) => imageOf(picture, '')),
  ];
}

/** The README with what it shows of this run. Throws when it has no place for it. */
export function readmeWith(readme: string, run: BenchRun): string {
  const [begin, end] = [readme.indexOf(README_BEGIN), readme.indexOf(README_END)];
  if (begin === -1 || end < begin) throw new Error(`the README has no ${README_BEGIN} … ${README_END}`);
  const pictures = run.parts.flatMap((part) => soundResultOf(part)?.pictures ?? []);
  const shown = README_PICTURES.flatMap((name) => pictures.find((picture) => picture.name === name) ?? []);
  const text = [
    tableOf(verdictCells(verdictsOf(run))),
    circumstancesOf(run).join(' '),
    ...shown.map((picture) => imageOf(picture, 'bench/results/')),
  ];
  return `${readme.slice(0, begin)}${README_BEGIN}\n\n${text.join('\n\n')}\n\n${readme.slice(end)}`;
}

function imageOf({ name, title }: Picture, folder: string): string {
  return `![${title}](${folder}${name}.svg)`;
}

function tableOf({ head, rows }: TextTable): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map((_, index) => (index === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}
