// What a process says of itself, and what becomes of it when many processes say it.
import { describe, expect, it } from 'vitest';
import { createLog } from '../../../platform/log.js';
import { mergeSnapshots, metricsText } from '../../../platform/metrics/merge.js';
import { Metrics } from '../../../platform/metrics/metrics.js';
import { isSnapshot, totalsOf } from '../../../platform/metrics/snapshot.js';
import type { Snapshot } from '../../../platform/metrics/snapshot.js';

const log = createLog('test', 'silent');
const create = (name = 'http-1') => new Metrics({ name, role: 'http', log, collectLimitMs: 50 });

/** The series of `name`, as Prometheus would read them. */
async function seriesOf(name: string, ...snapshots: Snapshot[]): Promise<string[]> {
  const text = await metricsText(snapshots);
  return text.split('\n').filter((line) => !line.startsWith('#') && new RegExp(`^${name}[ {_]`).test(line));
}

/** As another process receives it. */
const sent = (snapshot: Snapshot): unknown => JSON.parse(JSON.stringify(snapshot));

describe('a collector', () => {
  it('sets its gauges for every snapshot; nothing stays from the one before', async () => {
    const metrics = create();
    const gauge = metrics.gauge('test_things', 'Things.', ['kind']);
    let kind = 'old';
    metrics.collect('things', [gauge], () => gauge.set({ kind }, 3));
    expect(await seriesOf('test_things', await metrics.snapshot())).toEqual(['test_things{kind="old"} 3']);
    kind = 'new';
    expect(await seriesOf('test_things', await metrics.snapshot())).toEqual(['test_things{kind="new"} 3']);
  });

  it.each([
    ['throws', () => Promise.reject(new Error('Redis is away'))],
    ['never comes back', () => new Promise<void>(() => undefined)],
  ])('that %s leaves its gauges without a value and is counted, and the others go on', async (_what, run) => {
    const metrics = create();
    const [missing, there] = [metrics.gauge('test_missing', 'Missing.'), metrics.gauge('test_there', 'There.')];
    metrics.collect('bad', [missing], () => {
      missing.set(1);
      return run();
    });
    metrics.collect('good', [there], () => there.set(1));
    for (const times of [1, 2]) {
      const snapshot = await metrics.snapshot();
      expect(await seriesOf('test_(missing|there)', snapshot)).toEqual(['test_there 1']);
      expect(await seriesOf('stampede_collector_failures_total', snapshot)).toEqual([
        `stampede_collector_failures_total{collector="bad"} ${times}`,
        'stampede_collector_failures_total{collector="good"} 0',
      ]);
    }
  });

  it('does not run for the totals, which are all that has been counted', async () => {
    const metrics = create();
    const gauge = metrics.gauge('test_things', 'Things.');
    metrics.collect('things', [gauge], () => Promise.reject(new Error('closed')));
    metrics.tally('test_results_total', 'Results.', 'result').count('done', 2);
    const totals = await metrics.totals();
    expect(await seriesOf('test_results_total', totals)).toEqual(['test_results_total{result="done"} 2']);
    expect(totals.map(({ type }) => type)).not.toContain('gauge');
    expect(await seriesOf('stampede_collector_failures_total', totals)).toHaveLength(1);
  });
});

describe('a snapshot', () => {
  it('survives the way to another process with every value a number', async () => {
    const metrics = create();
    const gauge = metrics.gauge('test_delay', 'Delay.', ['of']);
    gauge.set({ of: 'nobody' }, NaN);
    gauge.set({ of: 'loop' }, 0.5);
    const received = sent(await metrics.snapshot());
    expect(isSnapshot(received)).toBe(true);
    expect(await metricsText([received as Snapshot])).not.toMatch(/ (NaN|Nan|null|undefined)$/m);
    expect(await seriesOf('test_delay', received as Snapshot)).toEqual(['test_delay{of="loop"} 0.5']);
  });

  it.each([
    ['no list', {}],
    [
      'a value that is no number',
      [{ name: 'a', help: 'b', type: 'gauge', aggregator: 'sum', values: [{ labels: {} }] }],
    ],
    ['an unknown way of merging', [{ name: 'a', help: 'b', type: 'gauge', aggregator: 'evil', values: [] }]],
  ])('is refused when it is %s', (_what, raw) => {
    expect(isSnapshot(raw)).toBe(false);
  });
});

describe('merging', () => {
  it('adds counters and histograms up, takes the largest where that is asked for, and keeps processes apart', async () => {
    const snapshots = await Promise.all(
      ['http-1', 'http-2'].map(async (name, index) => {
        const metrics = create(name);
        metrics.counter('test_claims_total', 'Claims.').inc(10 + index);
        metrics.gauge('test_lag_seconds', 'Lag.', [], 'max').set(index);
        metrics.histogram('test_size', 'Sizes.', [1, 10]).observe(5 * (index + 1));
        return await metrics.snapshot();
      }),
    );
    const [first = [], second = []] = snapshots;
    expect(await seriesOf('test_claims_total', first, second)).toEqual(['test_claims_total 21']);
    expect(await seriesOf('test_lag_seconds', first, second)).toEqual(['test_lag_seconds 1']);
    expect(await seriesOf('test_size', first, second)).toEqual([
      'test_size_bucket{le="1"} 0',
      'test_size_bucket{le="10"} 2',
      'test_size_bucket{le="+Inf"} 2',
      'test_size_sum 15',
      'test_size_count 2',
    ]);
    expect(await seriesOf('process_start_time_seconds', first, second)).toHaveLength(2);
    // Merging in two steps is merging in one.
    const totals = mergeSnapshots([totalsOf(first), totalsOf(second)]);
    expect(await seriesOf('test_size', sent(totals) as Snapshot)).toEqual(await seriesOf('test_size', first, second));
  });
});
