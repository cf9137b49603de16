// What the detector remembers of one place in the code: how many old ones there were at each snapshot. Pure data.
import type { SiteSample } from '../model.js';
import { AGE_STEPS_MS } from '../model.js';
import type { Point } from './trend.js';

interface Count {
  readonly old: number;
  readonly abandoned: number;
}

export class History {
  /** The latest that was seen; of a place with pending and abandoned ones, the pending ones. */
  latest: SiteSample;
  /** Epoch ms: when what is growing now began to; undefined while it does not grow. */
  since: number | undefined;
  /** ms over which its growth was confirmed; undefined while it is not. */
  confirmedScaleMs: number | undefined;
  #points: (Point & { readonly abandoned: number })[];

  /** `before`: the times of the snapshots in which it was not there. Growth from nothing is growth. */
  constructor(latest: SiteSample, before: readonly number[]) {
    this.latest = latest;
    this.#points = before.map((at) => ({ at, value: 0, abandoned: 0 }));
  }

  /** Live for long, plus abandoned: what a leak makes rise, whenever the garbage collection turns the one into the other. */
  get points(): readonly Point[] {
    return this.#points;
  }

  get value(): number {
    return this.#points.at(-1)?.value ?? 0;
  }

  get isEmpty(): boolean {
    return this.#points.every(({ value }) => value === 0);
  }

  /** Of the growth over all points that are kept. */
  get abandonedGrowth(): number {
    return (this.#points.at(-1)?.abandoned ?? 0) - (this.#points[0]?.abandoned ?? 0);
  }

  add(at: number, { old, abandoned }: Count): void {
    this.#points.push({ at, value: old + abandoned, abandoned });
  }

  /** Keeps one point at or before `from`, and all later ones. */
  forgetBefore(from: number): void {
    const first = this.#points.findLastIndex(({ at }) => at <= from);
    if (first > 0) this.#points = this.#points.slice(first);
  }
}

/** The same for pending and abandoned ones of a place. */
export function placeOf({ kind, type, stack, details }: SiteSample): string {
  const frames = stack.map(({ file, line, column }) => `${file}:${line}:${column}`);
  const group = kind === 'abandoned' ? 'promise' : kind;
  return [group, type, details.by ?? details.site ?? '', ...frames].join('\n');
}

/**
 * How many of a place's resources count. Where some were abandoned, the pending ones of any age: each collection turns
 * all of them into abandoned ones, and none would ever become old.
 */
export function countOf(samples: readonly SiteSample[], oldStep: number): Count {
  const abandoned = sum(samples.filter(({ kind }) => kind === 'abandoned').map(({ live }) => live));
  const pending = samples.filter(({ kind }) => kind !== 'abandoned');
  const old = sum(pending.map((sample) => (abandoned > 0 ? sample.live : oldOnes(sample, oldStep))));
  return { old, abandoned };
}

/** Without single ages: all, if half of them are old. */
function oldOnes(sample: SiteSample, oldStep: number): number {
  return sample.ages?.[oldStep] ?? (sample.ageP50Ms >= (AGE_STEPS_MS[oldStep] ?? 0) ? sample.live : 0);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
