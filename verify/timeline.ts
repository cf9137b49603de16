// The picture of a run, as SVG: answers per second above, stacked by what they said; below, a bar for each fault, in a lane
// for each target. Pure: data in, text out.
import type { HappenedFault } from './faults.js';
import type { Operation } from './history.js';
import type { RunResult } from './run.js';

const WIDTH = 1_200;
const MARGIN = 90;
const CHART_HEIGHT = 220;
const TOP = 50;
const LANE_HEIGHT = 22;
const BAR_HEIGHT = 14;
/** A fault of a moment is still to be seen. */
const BAR_WIDTH_MIN = 3;
const TICKS_MAX = 12;
const BUCKET_MS = 1_000;

const SERIES = [
  { name: 'granted', colour: '#2e7d32' },
  { name: 'refused by the coupon', colour: '#90a4ae' },
  { name: '503, surely not granted', colour: '#f9a825' },
  { name: 'unknown', colour: '#c62828' },
] as const;

const COUPON_CODES = new Set(['sold_out', 'paused', 'not_open', 'ended']);

export function drawTimeline(result: Pick<RunResult, 'history' | 'faults' | 'times'>, title: string): string {
  const { began, calm, recovered, ended } = result.times;
  const x = (moment: number): number => MARGIN + ((moment - began) / (ended - began)) * (WIDTH - 2 * MARGIN);
  const targets = [...new Set(result.faults.map((fault) => fault.target))].sort();
  const lanesTop = TOP + CHART_HEIGHT + 40;
  const height = lanesTop + targets.length * LANE_HEIGHT + 40;
  const marks = [
    { at: calm, name: 'load and faults end' },
    { at: recovered, name: 'recovered' },
  ];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="${WIDTH}" height="${height}" fill="white"/>`,
    text(MARGIN, 18, title, 'font-size="14"'),
    ...SERIES.map(({ name, colour }, i) => legend(MARGIN + i * 190, 34, name, colour)),
    ...drawAnswers(result.history, began, ended, x),
    ...drawAxis(began, ended, x),
    ...targets.map((target, lane) => text(8, lanesTop + lane * LANE_HEIGHT + 11, target)),
    ...result.faults.map((fault) => drawFault(fault, lanesTop + targets.indexOf(fault.target) * LANE_HEIGHT, x)),
    ...marks.map(({ at, name }, i) => {
      const line = `<line x1="${px(x(at))}" x2="${px(x(at))}" y1="${TOP}" y2="${height - 20}" stroke="#1565c0" stroke-dasharray="4 3"/>`;
      return line + text(x(at) + 3, height - 20 + i * 12, name, 'fill="#1565c0"');
    }),
    '</svg>',
    '',
  ].join('\n');
}

function drawAnswers(history: readonly Operation[], began: number, ended: number, x: (at: number) => number): string[] {
  const buckets = Array.from({ length: Math.ceil((ended - began) / BUCKET_MS) }, () => SERIES.map(() => 0));
  for (const operation of history) {
    const bucket = buckets[Math.floor((operation.completedAt - began) / BUCKET_MS)];
    const series = seriesOf(operation);
    if (bucket !== undefined && series !== undefined) bucket[series] = (bucket[series] ?? 0) + 1;
  }
  const highest = Math.max(1, ...buckets.map((bucket) => bucket.reduce((sum, count) => sum + count, 0)));
  const bars = buckets.flatMap((bucket, i) => {
    const [from, to] = [x(began + i * BUCKET_MS), x(Math.min(ended, began + (i + 1) * BUCKET_MS))];
    let bottom = TOP + CHART_HEIGHT;
    return bucket.map((count, series) => {
      const tall = (count / highest) * CHART_HEIGHT;
      bottom -= tall;
      return `<rect x="${px(from)}" y="${px(bottom)}" width="${px(to - from)}" height="${px(tall)}" fill="${SERIES[series]?.colour ?? ''}"/>`;
    });
  });
  return [...bars, text(8, TOP + 10, `${highest}/s`), text(8, TOP + CHART_HEIGHT, '0')];
}

/** Index in SERIES; undefined for what operators did. */
function seriesOf(operation: Operation): number | undefined {
  if (operation.kind !== 'claim') return undefined;
  const { outcome } = operation;
  if (outcome.result === 'granted') return 0;
  if (outcome.result === 'unknown') return 3;
  return COUPON_CODES.has(outcome.code) ? 1 : 2;
}

function drawFault({ fault, beganAt, endedAt }: HappenedFault, top: number, x: (at: number) => number): string {
  const width = Math.max(BAR_WIDTH_MIN, x(endedAt) - x(beganAt));
  const tip = `<title>${fault}, ${Math.round(endedAt - beganAt)} ms</title>`;
  const bar = `<rect x="${px(x(beganAt))}" y="${top}" width="${px(width)}" height="${BAR_HEIGHT}" fill="#6a1b9a" opacity="0.5">${tip}</rect>`;
  return bar + text(x(beganAt) + 2, top + 11, fault, 'font-size="8"');
}

function drawAxis(began: number, ended: number, x: (at: number) => number): string[] {
  const seconds = (ended - began) / 1_000;
  const step = Math.max(1, Math.ceil(seconds / TICKS_MAX / 5) * 5);
  const y = TOP + CHART_HEIGHT;
  const ticks = Array.from({ length: Math.floor(seconds / step) + 1 }, (_, i) => i * step);
  return [
    `<line x1="${MARGIN}" x2="${WIDTH - MARGIN}" y1="${y}" y2="${y}" stroke="black"/>`,
    ...ticks.map((second) => text(x(began + second * 1_000) - 6, y + 14, `${second} s`)),
  ];
}

function legend(left: number, top: number, name: string, colour: string): string {
  return `<rect x="${left}" y="${top - 8}" width="9" height="9" fill="${colour}"/>${text(left + 13, top, name)}`;
}

function text(left: number, top: number, content: string, attributes = ''): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  return `<text x="${px(left)}" y="${px(top)}" ${attributes}>${escaped}</text>`;
}

function px(value: number): string {
  return value.toFixed(1);
}
