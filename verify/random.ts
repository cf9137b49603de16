// Seeded random numbers: the same seed and name give the same sequence on every machine. Nothing here reads a clock.

/** A number in [0, 1). */
export type Random = () => number;

/**
 * A sequence of its own for each name, so that one part of a run drawing more numbers does not shift those of another.
 * The generator is mulberry32 (32 bits of state, period 2³²), seeded by FNV-1a over seed and name.
 */
export function randomOf(seed: number, name: string): Random {
  let state = 0x811c9dc5;
  for (const character of `${seed}:${name}`) state = Math.imul(state ^ (character.codePointAt(0) ?? 0), 0x01000193);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** In [min, max). */
export function between(random: Random, min: number, max: number): number {
  return min + random() * (max - min);
}

/** Whole, from min to max, both included. */
export function wholeBetween(random: Random, min: number, max: number): number {
  return Math.floor(between(random, min, max + 1));
}

/** One of them; throws when there is none. */
export function pick<T>(random: Random, from: readonly T[]): T {
  return at(random(), from);
}

/** The element at a share in [0, 1) of the list; throws when it is empty. */
export function at<T>(share: number, from: readonly T[]): T {
  const found = from[Math.min(from.length - 1, Math.floor(share * from.length))];
  if (found === undefined) throw new Error('nothing to choose from');
  return found;
}
