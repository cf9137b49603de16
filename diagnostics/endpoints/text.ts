// Plain text for people who use curl: stacks, tables, sizes, durations.
import type { Frame, SiteSample } from '../model.js';

export function frameLines(frames: readonly Frame[]): string[] {
  return frames.map((frame) => `    at ${frameText(frame)}`);
}

/** `claim (/srv/app.ts:12:5)`, as V8 writes it, so that editors and terminals make it a link. */
export function frameText({ functionName, file, line, column }: Frame): string {
  const place = file === '' ? 'native' : `${file}:${line}:${column}`;
  return functionName === '' ? place : `${functionName} (${place})`;
}

/** Columns as wide as their widest cell; the first is aligned left, the others right. */
export function table(rows: readonly (readonly (string | number)[])[]): string {
  const cells = rows.map((row) => row.map(String));
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return cells
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** `, estimated from 7`: of how many recorded ones a count is made, where they are not all. */
export function estimateText({ live, sampled }: SiteSample): string {
  return sampled < live ? `, estimated from ${sampled}` : '';
}

const MEBIBYTE = 1024 * 1024;

export function mebibytes(bytes: number): string {
  return `${(bytes / MEBIBYTE).toFixed(1)} MiB`;
}

/** `340 ms`, `12.0 s`, `7 min`, `3.5 h`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  return `${(ms / 3_600_000).toFixed(1)} h`;
}
