// /debug/eventloop and /debug/gc: how late and how busy the event loop is, and how long garbage collection stops it.
import type { DelayBucket } from '../agent/delay-histogram.js';
import type { VitalSigns } from '../agent/messages.js';
import { ANSWER_TIMEOUT_MS, formatOf, json, staleLine, text } from './debug-request.js';
import type { Endpoint } from './debug-request.js';
import { table } from './text.js';

/** Rows shown to people: the last minute. */
const ROWS_SHOWN = 30;
/** Characters of a bar that stands for all. */
const BAR_WIDTH = 40;

export const eventLoop: Endpoint = async (request, { link, watch }) => {
  const format = formatOf(request, ['text', 'json']);
  const { value: histogram = [], stale } = await link.askOrLast('delays', ANSWER_TIMEOUT_MS);
  const silentMs = stale?.silentMs ?? 0;
  const readings = watch.vitals();
  if (format === 'json') {
    const last = readings.map(({ at, intervalMs, loop }) => ({ at, intervalMs, ...loop }));
    return json({ blocked: stale !== undefined, silentMs, histogram, readings: last });
  }
  return text(`${staleLine(stale)}${histogramTable(histogram)}\n\n${loopTable(readings.slice(-ROWS_SHOWN))}`);
};

/** Between the first and the last bucket that hold something. */
function histogramTable(histogram: readonly DelayBucket[]): string {
  const all = Math.max(1, sum(histogram));
  const first = histogram.findIndex(({ count }) => count > 0);
  const last = histogram.findLastIndex(({ count }) => count > 0);
  const rows = histogram.slice(Math.max(0, first), last + 1).map(({ upToMs, count }) => {
    const share = count / all;
    return [
      upToMs === null ? 'more' : `up to ${upToMs} ms`,
      count,
      `${(share * 100).toFixed(2)} %`,
      '#'.repeat(Math.ceil(share * BAR_WIDTH)).padEnd(BAR_WIDTH),
    ];
  });
  return table([['delay since the start', 'times', 'share', ''], ...rows]);
}

function sum(histogram: readonly DelayBucket[]): number {
  return histogram.reduce((total, { count }) => total + count, 0);
}

function loopTable(readings: readonly VitalSigns[]): string {
  const rows = readings.map(({ at, loop: { utilization, delayMs } }) => [
    new Date(at).toISOString(),
    `${(utilization * 100).toFixed(1)} %`,
    ...[delayMs.mean, delayMs.p50, delayMs.p99, delayMs.max].map((ms) => ms.toFixed(1)),
  ]);
  return table([['time', 'busy', 'delay mean', 'p50', 'p99', 'max (ms)'], ...rows]);
}

export const gc: Endpoint = async (request, { link, watch }) => {
  const format = formatOf(request, ['text', 'json']);
  const { value: totals = {}, stale } = await link.askOrLast('gc', ANSWER_TIMEOUT_MS);
  const readings = watch.vitals();
  if (format === 'json') {
    const recent = readings.map(({ at, intervalMs, gc: pauses }) => ({ at, intervalMs, ...pauses }));
    return json({ stale: stale !== undefined, totals, readings: recent });
  }
  const rows = Object.entries(totals).map(([kind, { count, pauseMs, longestMs }]) => [
    kind,
    count,
    pauseMs.toFixed(1),
    longestMs.toFixed(1),
  ]);
  return text(`${staleLine(stale)}${table([['collection', 'count', 'total ms', 'longest ms'], ...rows])}`);
};
