// The part `generator`: the same loads from wrk and from the benchmark's own generator.
import { expect, it } from 'vitest';
import { GENERATOR } from '../../bench/wrk/part.js';
import { judgementOn } from '../../bench/wrk/result.js';
import type { Round } from '../../bench/wrk/turns.js';
import { LOADS, SOURCES } from '../../bench/wrk/turns.js';
import { measureShort, PART_TIMEOUT_MS } from './short-part.js';

it('measures the same loads by wrk and by its own generator', { timeout: PART_TIMEOUT_MS }, async () => {
  const { problems, raw, tables, findings } = await measureShort(GENERATOR);
  // Also says that all that was told is in MySQL.
  expect(problems).toEqual([]);
  const [turns] = raw as readonly Round[];
  expect(turns?.map(({ load, source }) => `${load}, ${source}`).toSorted()).toEqual(
    LOADS.flatMap((load) => SOURCES.map((source) => `${load}, ${source}`)).toSorted(),
  );
  for (const { load, source, measured, generatorMicros } of turns ?? []) {
    const { answers, latencyMs, unanswered } = measured.load;
    expect(Object.keys(answers)).toEqual([load === 'sold-out answers' ? '409 sold_out' : '201 claimed']);
    // wrk goes on for as long as it was told.
    if (source !== 'wrk') expect(Object.values(answers)).toEqual([1_000]);
    expect(unanswered).toBe(0);
    expect(latencyMs.p99).toBeGreaterThanOrEqual(latencyMs.p50);
    expect(latencyMs.p50).toBeGreaterThan(0);
    expect(generatorMicros).toBeGreaterThan(0);
  }
  const serverMicros = (wanted: (typeof LOADS)[number]): number =>
    turns?.find(({ load, source }) => load === wanted && source === 'wrk')?.measured.cpuMicrosPerClaim.http ?? NaN;
  expect(findings.map(({ target, value: { median } }) => [target, median])).toEqual([
    ['cpuAgainstFloor', serverMicros('granted claims') / serverMicros('empty Fastify route')],
    ['soldOutAgainstFloor', serverMicros('sold-out answers') / serverMicros('empty Fastify route')],
  ]);
  expect(tables.map(({ rows, columns }) => [rows.length, columns.length])).toEqual([
    [6, 7],
    [3, 4],
  ]);
});

it('says where the own generator changes what is compared', () => {
  const spread = { median: 0.9, min: 0.8, max: 0.95 };
  expect(judgementOn('granted claims', spread)).toBe(
    "Granted claims against the empty route: the own generator's ratio is 10 % lower than wrk's, in every round. " +
      'What this benchmark says of them is that much too good, if wrk is right.',
  );
  expect(judgementOn('granted claims', { ...spread, max: 1.01 })).toContain('rounds lie on both sides');
  expect(judgementOn('granted claims', { median: 1.2, min: 1.1, max: 1.3 })).toContain('too bad');
});
