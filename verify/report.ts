// How a verdict is told: a table for people, one object for programs.
import Table from 'cli-table3';
import type { Verdict } from './checker.js';
import { FAULT_KINDS } from './fault-kinds.js';
import type { FinalState, Operation } from './history.js';
import type { HappenedFault } from './faults.js';

/** Column of the statements and examples, so that the table fits a terminal of 110. */
const TEXT_WIDTH = 76;

export interface Report {
  readonly seed: number;
  readonly minutes: number;
  readonly ack: string;
  readonly redis: string;
  readonly verdict: Verdict;
  /** How often each kind of answer was heard, the commonest first. */
  readonly answers: Readonly<Record<string, number>>;
  /** Faults of the schedule; on a busy machine the last of them come too late to happen. */
  readonly planned: number;
  readonly faults: readonly HappenedFault[];
  readonly recovery: FinalState['recovery'];
  readonly claims: number;
  readonly returned: number;
  /** After the faults, until the operator released them. */
  readonly withheldUnits: number;
  /** Files with the picture, the whole history, the logs. */
  readonly files: readonly string[];
}

export function countAnswers(history: readonly Operation[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const operation of history) {
    const answer = labelOf(operation);
    counts.set(answer, (counts.get(answer) ?? 0) + 1);
  }
  return Object.fromEntries([...counts].sort((a, b) => b[1] - a[1]));
}

function labelOf(operation: Operation): string {
  if (operation.kind !== 'claim' && operation.kind !== 'return') return `${operation.kind} ${operation.outcome}`;
  const { outcome } = operation;
  const asked = operation.kind === 'return' ? 'return ' : '';
  if (outcome.result === 'granted') return outcome.status;
  if (outcome.result === 'returned') return outcome.result;
  if (outcome.result === 'refused') return asked + outcome.code;
  return asked + (outcome.reason.startsWith('no answer') ? 'no answer' : outcome.reason.slice(0, 40));
}

export function describe(report: Report): string {
  const { verdict, answers, faults, recovery } = report;
  const checks = new Table({
    head: ['', 'check', 'looked at', 'broken'],
    colWidths: [21, TEXT_WIDTH, null, null],
    wordWrap: true,
    style: { head: [], border: [] },
  });
  for (const { name, statement, checked, violations, examples } of verdict.checks) {
    checks.push([name, [statement, ...examples.map((example) => `✗ ${example}`)].join('\n'), checked, violations]);
  }
  const waited = recovery.waitedFor.length === 0 ? '' : `, at last from: ${recovery.waitedFor.join(', ')}`;
  const skipped = faults.filter((fault) => fault.problem !== undefined);
  return [
    checks.toString(),
    `Answers: ${list(answers)}.`,
    describeFaults(faults),
    `${faults.length} of ${report.planned} planned faults happened.`,
    ...skipped.map((fault) => `  ${fault.fault} of ${fault.target} did not go as planned: ${fault.problem ?? ''}`),
    `${report.claims} claims in MySQL, ${report.returned} of them given back, ${verdict.recovered} recovered after an answer that got lost.`,
    `${report.withheldUnits} units were withheld after the faults and released by the operator.`,
    `${verdict.lostInWindow} answers are lost within the window of the level.`,
    `Recovered ${(recovery.ms / 1_000).toFixed(1)} s after the last fault (limit ${recovery.limitMs / 1_000} s)${waited}.`,
    ...report.files,
    verdict.ok
      ? `Every promise was kept (seed ${report.seed}, ${report.minutes} minutes, level ${report.ack}, Redis ${report.redis}).`
      : `PROMISES WERE BROKEN. Again with the same schedule of faults: --seed ${report.seed} --minutes ${report.minutes} --ack ${report.ack} --redis ${report.redis}`,
  ].join('\n');
}

/** What happened how often, how often it was seen to have an effect, and how much that was. */
function describeFaults(faults: readonly HappenedFault[]): string {
  const table = new Table({ head: ['fault', 'times', 'with effect', 'what was hit'], style: { head: [], border: [] } });
  for (const { name, hits } of FAULT_KINDS) {
    const those = faults.filter((fault) => fault.fault === name);
    if (those.length === 0) continue;
    const sum = those.reduce((all, fault) => all + fault.hits, 0);
    table.push([name, those.length, those.filter((fault) => fault.hits > 0).length, `${sum} ${hits}`]);
  }
  return faults.length === 0 ? 'Faults: none.' : table.toString();
}

function list(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).map(([name, times]) => `${name} ${times}`);
  return parts.length === 0 ? 'none' : parts.join(', ');
}
