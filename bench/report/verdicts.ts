// How every target stands after a run. Pure.
import type { BenchRun, PartRun } from '../run.js';
import { soundResultOf } from '../run.js';
import type { Spread } from '../statistics.js';
import { isSpread } from '../statistics.js';
import type { Target, TargetName } from '../targets.js';
import { TARGETS } from '../targets.js';

export interface Verdict {
  readonly name: TargetName;
  readonly what: string;
  readonly unit: string;
  /** `≤ 1.15 ×` */
  readonly bound: string;
  readonly value: Spread | undefined;
  /** `no result`: its part has problems, or found nothing that can be judged. `not measured`: its part did not run. */
  readonly verdict: 'met' | 'missed' | 'no result' | 'not measured';
  /** The bound lies between the lowest and the highest round: another run may say otherwise. */
  readonly close: boolean;
}

/** In the order of the table of targets. */
export function verdictsOf({ parts }: Pick<BenchRun, 'parts'>): Verdict[] {
  return Object.keys(TARGETS).map((name) => verdictOn(name as TargetName, parts));
}

function verdictOn(name: TargetName, parts: readonly PartRun[]): Verdict {
  const { part, what, unit, atMost, atLeast }: Target = TARGETS[name];
  const run = parts.find((one) => one.name === part);
  const result = run && soundResultOf(run);
  const value = result?.findings.find(({ target, value: found }) => target === name && isSpread(found))?.value;
  const bound = [atMost === undefined ? [] : `≤ ${atMost}`, atLeast === undefined ? [] : `≥ ${atLeast}`].flat();
  const common = { name, what, unit, bound: `${bound.join(', ')} ${unit}`.trim(), value };
  if (value === undefined)
    return { ...common, verdict: run === undefined ? 'not measured' : 'no result', close: false };
  const meets = (one: number): boolean => one <= (atMost ?? Infinity) && one >= (atLeast ?? -Infinity);
  const close = meets(value.min) !== meets(value.max);
  return { ...common, verdict: meets(value.median) ? 'met' : 'missed', close };
}
