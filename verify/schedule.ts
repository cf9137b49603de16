// Which fault happens when, decided by the seed alone. Pure: the same seed, duration and names give the same schedule.
import { between, pick, randomOf } from './random.js';

/** What can be broken by itself. */
export const PARTS = ['redis', 'mysql', 'instance-1', 'instance-2'] as const;

/** What a fault happens to; faults of one target come one after the other. */
export type Target = (typeof PARTS)[number] | 'everything';

export interface FaultKind {
  readonly name: string;
  /** One line for --help. */
  readonly meaning: string;
  /** One of them is drawn each time. */
  readonly targets: readonly Target[];
  /** How long it lasts; [0, 0] for what happens in a moment. */
  readonly lastsMs: readonly [min: number, max: number];
  readonly effect?: FaultEffect;
  /** What is counted to see that it had an effect, in the plural. */
  readonly hits: string;
}

/** What of it matters for the question of what may be lost. */
export interface FaultEffect {
  /** The http workers of the target end without having reported, or may; or they cannot be heard while it lasts. */
  readonly workers?: 'die' | 'away';
  readonly redisEnds?: true;
}

export interface PlannedFault {
  /** Since the beginning of the load. */
  readonly atMs: number;
  readonly fault: string;
  readonly target: Target;
  readonly lastsMs: number;
  /** In [0, 1): which of several, where there are several. */
  readonly which: number;
  /** It does not wait for its target to work again after the fault before, and so meets the recovery. */
  readonly hurried: boolean;
}

/** The load runs undisturbed this long, at the beginning and after the last fault. */
const CALM_MS = 2_000;
/** Between the beginnings of two faults. */
const GAP_MS = [700, 3_500] as const;
/** After a fault its target is left alone. */
const REST_MS = [0, 4_000] as const;
/** Of the faults; the others wait until their target works again, so that they have something to break. */
const HURRIED_SHARE = 1 / 3;

/** Faults in the order of their beginnings. */
export function planFaults(seed: number, durationMs: number, kinds: readonly FaultKind[]): PlannedFault[] {
  if (kinds.length === 0) return [];
  const random = randomOf(seed, 'schedule');
  const planned: PlannedFault[] = [];
  const freeAt = new Map<string, number>();
  // Every kind has its turn before one comes again: a short run meets as many as it can.
  let deck: FaultKind[] = [];
  for (let atMs = CALM_MS; ; atMs += between(random, ...GAP_MS)) {
    if (deck.length === 0) deck = [...kinds];
    const kind = pick(random, deck);
    const target = pick(random, kind.targets);
    const lastsMs = Math.round(between(random, ...kind.lastsMs));
    const which = random();
    const hurried = random() < HURRIED_SHARE;
    const rest = between(random, ...REST_MS);
    const parts = partsOf(target);
    const startMs = Math.round(Math.max(atMs, ...parts.map((part) => freeAt.get(part) ?? 0)));
    if (atMs > durationMs - CALM_MS) break;
    if (startMs + lastsMs > durationMs - CALM_MS) continue;
    deck.splice(deck.indexOf(kind), 1);
    planned.push({ atMs: startMs, fault: kind.name, target, lastsMs, which, hurried });
    for (const part of parts) freeAt.set(part, startMs + lastsMs + rest);
  }
  return planned.sort((a, b) => a.atMs - b.atMs);
}

/** The parts that a fault of this target breaks. */
export function partsOf(target: Target): readonly string[] {
  return target === 'everything' ? PARTS : [target];
}
