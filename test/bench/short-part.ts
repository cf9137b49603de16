// Runs a part of the benchmark as small as it gets: one round of its short scale.
import type { Part, PartResult } from '../../bench/part.js';
import { TARGETS } from '../../bench/targets.js';
import { createLog } from '../../platform/log.js';

/** Each takes some ten seconds; a busy machine is no failure. */
export const PART_TIMEOUT_MS = 180_000;

/** Throws on a finding of a target that there is not, or that is no number: neither could be held against anything. */
export async function measureShort(part: Part): Promise<PartResult> {
  const sizes = { rounds: 1, requests: 1_000, connections: 64, workers: 1, execArgv: [] };
  const { signal } = new AbortController();
  const log = createLog('bench', 'silent');
  const result = await part.measure({ scale: 'short', ...sizes, report: () => undefined, log, signal });
  for (const { target, value } of result.findings) {
    if (!(target in TARGETS) || !Number.isFinite(value.median)) throw new Error(`no finding: ${target}`);
  }
  return result;
}
