// Measures what the diagnostics cost on the claim path: CPU time per claim of fresh http processes with the agent (recorder, vital
// signs, diagnostics thread) against fresh ones without, in pairs (fresh-pairs.ts). `node dist/bench/recorder/claims.js [pairs]`.
// Exits 1 when the main thread is over its budget.
import { listenForSignals } from '../../cli/signals.js';
import type { ThreadMicros } from '../cpu.js';
import { medianInterval, spreadOf } from '../statistics.js';
import type { Pair, PairsPlan } from './fresh-pairs.js';
import { measurePairs } from './fresh-pairs.js';

/** The ratio of one pair varies by 2 to 3 %: with so many the median is known to about 1 %. */
const PLAN: PairsPlan = { pairs: 20, laps: 8, claimsPerLap: 8_000, claimsToSettle: 10_000, lapsToWarmUp: 3 };
/** Of the claim path, always on. */
const RATIO_MAX = 1.03;

const signals = listenForSignals();
const [, , pairs = PLAN.pairs] = process.argv;
const measured: Pair[] = [];
try {
  await measurePairs({ ...PLAN, pairs: Number(pairs) }, signals.stop, (pair) => {
    measured.push(pair);
    console.error(`pair ${measured.length} of ${pairs}: ${textOf(pair, 'main')}`);
  });
} catch (error) {
  if (!signals.stop.aborted) throw error;
  console.error('interrupted, everything is stopped');
  if (measured.length === 0) process.exit(1);
} finally {
  signals.close();
}
console.log(`Node ${process.versions.node}, ${measured.length} pairs of fresh processes, CPU per claim`);
for (const [title, which] of [
  ['main thread', 'main'],
  ['process', 'all'],
] as const) {
  const micros = (side: keyof Pair): number => spreadOf(measured.map((pair) => pair[side][which])).median;
  const ratios = measured.map((pair) => ratioOf(pair, which));
  const interval = medianInterval(ratios);
  const sure = interval === undefined ? 'too few to say' : `${interval.low.toFixed(3)} to ${interval.high.toFixed(3)}`;
  const { median } = spreadOf(ratios);
  const both = `off ${micros('off').toFixed(1)} µs  on ${micros('on').toFixed(1)} µs`;
  console.log(`${title.padEnd(12)}  ${both}  ratio ${median.toFixed(3)} (95 % sure: ${sure})`);
}
console.log(`budget of the main thread: ${RATIO_MAX}`);
process.exitCode = spreadOf(measured.map((pair) => ratioOf(pair, 'main'))).median <= RATIO_MAX ? 0 : 1;

function ratioOf({ on, off }: Pair, which: keyof ThreadMicros): number {
  return on[which] / off[which];
}

function textOf(pair: Pair, which: keyof ThreadMicros): string {
  const { on, off } = pair;
  return `off ${off[which].toFixed(2)} µs, on ${on[which].toFixed(2)} µs, ratio ${ratioOf(pair, which).toFixed(3)}`;
}
