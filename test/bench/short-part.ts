// Runs a part of the benchmark as small as it gets: one round of its short scale.
import { expect } from 'vitest';
import type { Part, PartResult } from '../../bench/part.js';
import { isSpread } from '../../bench/statistics.js';
import type { Target } from '../../bench/targets.js';
import { TARGETS } from '../../bench/targets.js';
import { createLog } from '../../platform/log.js';

/** Each takes some ten seconds; a busy machine is no failure. */
export const PART_TIMEOUT_MS = 180_000;

/** Throws where the part does not find each of its targets, and no other, as a number: it could not be held against anything. */
export async function measureShort(part: Part): Promise<PartResult> {
  const sizes = { rounds: 1, requests: 1_000, connections: 64, workers: 1, execArgv: [] };
  const { signal } = new AbortController();
  const log = createLog('bench', 'silent');
  const result = await part.measure({ scale: 'short', ...sizes, report: () => undefined, log, signal });
  const found = result.findings.filter(({ value }) => isSpread(value)).map(({ target }) => target);
  const targets = Object.entries<Target>(TARGETS).flatMap(([name, target]) =>
    target.part === part.name ? [name] : [],
  );
  expect(found.toSorted()).toEqual(targets.toSorted());
  return result;
}
