// Small charts of one vital sign over the last minutes, as inline SVG without a script.
import { html } from './markup.js';
import type { Markup } from './markup.js';

const WIDTH = 240;
const HEIGHT = 48;
/** Readings further apart than this were interrupted by a blocked main thread: the line is interrupted too. */
const GAP_MS = 5_000;

export interface Reading {
  /** Epoch ms. */
  readonly at: number;
  readonly value: number;
}

/** `ceiling`: the value at the top, if the data should not decide (a share, a limit). */
export function chart(
  title: string,
  readings: readonly Reading[],
  show: (value: number) => string,
  ceiling?: number,
): Markup {
  const values = readings.map(({ value }) => value);
  const highest = Math.max(0, ...values);
  const top = ceiling ?? (highest === 0 ? 1 : highest);
  return html`<figure>
    <figcaption>${title} <b>${show(values.at(-1) ?? 0)}</b> <small>max ${show(highest)}</small></figcaption>
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="${title} over time">
      <path d="${pathOf(readings, top)}" />
    </svg>
  </figure>`;
}

function pathOf(readings: readonly Reading[], top: number): string {
  const from = readings[0]?.at ?? 0;
  const spanMs = Math.max(1, (readings.at(-1)?.at ?? 0) - from);
  return readings
    .map(({ at, value }, index) => {
      const before = readings[index - 1];
      const pen = before === undefined || at - before.at > GAP_MS ? 'M' : 'L';
      const x = ((at - from) / spanMs) * WIDTH;
      const y = HEIGHT - 1 - (Math.min(value, top) / top) * (HEIGHT - 2);
      return `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    })
    .join('');
}
