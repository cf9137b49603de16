// How every target stands after a run. Pure.
import type { Finding } from '../part.js';
import type { BenchRun } from '../run.js';
import type { Spread } from '../statistics.js';
import type { Target, TargetName } from '../targets.js';
import { TARGETS } from '../targets.js';

export interface Verdict {
  readonly name: TargetName;
  readonly what: string;
  readonly unit: string;
  /** `≤ 1.15 ×` */
  readonly bound: string;
  readonly value: Spread | undefined;
  readonly verdict: 'met' | 'missed' | 'not measured';
}

/** In the order of the table of targets. What a part with a problem found counts for nothing; what is found twice counts as first found. */
export function verdictsOf({ parts }: Pick<BenchRun, 'parts'>): Verdict[] {
  const findings = parts.flatMap(({ result, problems }) => (problems.length === 0 ? (result?.findings ?? []) : []));
  return Object.keys(TARGETS).map((name) => verdictOn(name as TargetName, findings));
}

function verdictOn(name: TargetName, findings: readonly Finding[]): Verdict {
  const target: Target = TARGETS[name];
  const { what, unit, atMost, atLeast } = target;
  const value = findings.find((finding) => finding.target === name)?.value;
  const bound = [atMost === undefined ? [] : `≤ ${atMost}`, atLeast === undefined ? [] : `≥ ${atLeast}`].flat();
  const common = { name, what, unit, bound: `${bound.join(', ')} ${unit}`.trim(), value };
  if (value === undefined) return { ...common, verdict: 'not measured' };
  const met = value.median <= (atMost ?? Infinity) && value.median >= (atLeast ?? -Infinity);
  return { ...common, verdict: met ? 'met' : 'missed' };
}
