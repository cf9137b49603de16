// The histogram of the event loop's delay: nothing that was poured into it is lost, and the latest moments are not smoothed.
import { createHistogram } from 'node:perf_hooks';
import { expect, test } from 'vitest';
import { DelayHistogram } from '../../../diagnostics/agent/delay-histogram.js';
import { waitFor } from '../../harness/wait-for.js';
import { ask, startProgram } from './program.js';

const counted = (histogram: DelayHistogram): (readonly [upToMs: number | null, count: number])[] =>
  histogram
    .read()
    .filter(({ count }) => count > 0)
    .map(({ upToMs, count }) => [upToMs, count]);

/** As Node reads it. */
function pour(histogram: DelayHistogram, delaysMs: readonly number[]): void {
  const recorded = createHistogram();
  for (const ms of delaysMs) recorded.record(ms);
  histogram.add(recorded.percentiles, recorded.count);
}

test('counts every delay once, over all that was poured in', () => {
  const histogram = new DelayHistogram();
  pour(histogram, [...new Array<number>(38).fill(1), 40, 700]);
  pour(histogram, [...new Array<number>(39).fill(1), 20_000]);
  expect(counted(histogram)).toEqual([
    [1, 77],
    [50, 1],
    [1_000, 1],
    [null, 1],
  ]);
  pour(histogram, []);
  expect(counted(histogram).reduce((sum, [, count]) => sum + count, 0)).toBe(80);
});

test('is on the page, with the time that the loop was blocked', async () => {
  const { socketPath } =
    await startProgram(`setTimeout(() => { for (const end = Date.now() + 1_500; Date.now() < end;); }, 100);
setInterval(() => {}, 1_000);
`);
  const { text } = await waitFor(
    async () => {
      const page = await ask(socketPath, '/debug/eventloop');
      return /^(?:up to (?:2000|5000|10000) ms|more) +\d/m.test(page.text) ? page : undefined;
    },
    { what: 'the block in the histogram' },
  );
  expect(text).toMatch(/^delay since the start/);
  const json = (await ask(socketPath, '/debug/eventloop?format=json')).text;
  const { histogram } = JSON.parse(json) as { histogram: { upToMs: number | null; count: number }[] };
  expect(histogram.map(({ upToMs }) => upToMs).at(-1)).toBeNull();
});
