// How long to wait before the next restart. Exponential with full jitter: processes that died together (a database
// went away) do not come back together.
import type { SupervisionLimits } from './limits.js';

/** Milliseconds to wait after `deaths` deaths in a row (1 or more); `random` gives a number in [0, 1). */
export function backoffDelayMs(
  deaths: number,
  limits: Pick<SupervisionLimits, 'backoffMinMs' | 'backoffMaxMs'>,
  random: () => number = Math.random,
): number {
  const ceiling = Math.min(limits.backoffMaxMs, limits.backoffMinMs * 2 ** (deaths - 1));
  return Math.floor(random() * ceiling);
}
