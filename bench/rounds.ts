// Rounds of a measurement: one that warms up, and those that count.
import type { PartContext } from './part.js';

/** 0, which lets compilers and caches settle and counts for nothing, where figures mean something; else 1. */
export function firstRound({ scale }: Pick<PartContext, 'scale'>): number {
  return scale === 'full' ? 0 : 1;
}
