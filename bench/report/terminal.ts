// How a run looks on the terminal. Pure text.
import Table from 'cli-table3';
import type { BenchRun } from '../run.js';
import { soundResultOf } from '../run.js';
import type { TextTable } from './cells.js';
import { cellsOf, circumstancesOf, partCells, problemsOf, verdictCells } from './cells.js';
import { verdictsOf } from './verdicts.js';

/** No colours, and no lines between rows. */
const PLAIN = {
  style: { head: [], border: [] },
  chars: { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' },
};

export function describeRun(run: BenchRun): string {
  const results = run.parts.flatMap((part) => soundResultOf(part)?.tables ?? []);
  return [
    circumstancesOf(run).join('\n'),
    'Figures are medians (lowest–highest) over rounds.',
    ...results.map((table) => [table.title, drawn(cellsOf(table)), ...table.notes].join('\n')),
    drawn(partCells(run.parts)),
    drawn(verdictCells(verdictsOf(run))),
    ...problemsOf(run.parts).map((problem) => `PROBLEM: ${problem}`),
  ].join('\n\n');
}

function drawn({ head, rows }: TextTable): string {
  const colAligns = head.map((_, index) => (index === 0 ? ('left' as const) : ('right' as const)));
  const table = new Table({ ...PLAIN, head: [...head], colAligns });
  table.push(...rows.map((row) => [...row]));
  return table.toString();
}
