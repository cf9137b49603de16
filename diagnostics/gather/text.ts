// All processes as text, for curl and the terminal: suspects first, then a line for each process.
import type { Summary } from '../endpoints/summary.js';
import { leakText } from '../endpoints/leaks.js';
import { duration, mebibytes, table } from '../endpoints/text.js';
import type { Gathered } from './gather.js';
import { worstVerdict } from './gather.js';

/** `links`: what there is to ask further, a line each. */
export function gatheredText(gathered: readonly Gathered[], links: readonly string[]): string {
  const suspected = gathered.filter(({ summary }) => (summary?.leaks.sites.length ?? 0) > 0);
  const blocked = gathered.filter(({ summary }) => (summary?.silentMs ?? 0) > 0);
  return [
    `leaks: ${worstVerdict(gathered)}`,
    ...blocked.map(({ name, summary }) => `! ${name}: blocked, silent for ${duration(summary?.silentMs ?? 0)}`),
    '',
    processTable(gathered),
    ...gathered.flatMap(({ name, problem }) => (problem === undefined ? [] : [`! ${name}: ${problem}`])),
    ...suspected.flatMap(({ name, summary }) => [
      '',
      `── ${name}`,
      summary === undefined ? '' : leakText(summary.leaks),
    ]),
    '',
    ...links,
  ].join('\n');
}

const HEAD = ['process', 'state', 'pid', 'up', 'busy', 'delay max', 'heap', 'promises', 'leaks'];

export function processTable(gathered: readonly Gathered[]): string {
  return table([HEAD, ...gathered.map(({ name, state, pid, summary }) => [name, state, pid, ...cells(summary)])]);
}

function cells(summary: Summary | undefined): string[] {
  if (summary === undefined) return ['–', '–', '–', '–', '–', '–'];
  const { vitals, promises, leaks } = summary;
  return [
    duration(summary.process.uptimeMs),
    vitals === undefined ? '–' : `${(vitals.loop.utilization * 100).toFixed(0)} %`,
    vitals === undefined ? '–' : `${vitals.loop.delayMs.max.toFixed(0)} ms`,
    vitals === undefined ? '–' : mebibytes(vitals.memory.heapUsed),
    String(Math.round(promises.pending)),
    leaks.verdict,
  ];
}
