// /debug/stack: what the main thread runs right now, even when its loop is blocked.
import { captureStack } from '../agent/stack.js';
import type { StackReport } from '../agent/stack.js';
import { formatOf, json, text } from './debug-request.js';
import type { Endpoint } from './debug-request.js';
import { frameLines } from './text.js';

/** A pause, or a short watch, with its time limits. */
const EXPECTED_MS = 1_500;

export const stack: Endpoint = async (request, { gate, link, maps }) => {
  const format = formatOf(request, ['text', 'json']);
  const report = await gate.run('a stack capture', EXPECTED_MS, async () => captureStack(link, maps, request.gone));
  return format === 'json' ? json(report) : text(describe(report));
};

function describe(report: StackReport): string {
  return [headline(report), ...frameLines(report.frames)].join('\n');
}

function headline(report: StackReport): string {
  switch (report.state) {
    case 'blocked':
      return `blocked: the event loop has not turned for at least ${report.silentMs} ms; the main thread is here:`;
    case 'native':
      return (
        `blocked in native code: the event loop has not turned for at least ${report.silentMs} ms and no JavaScript runs ` +
        `(a synchronous system call or a long native function; the kernel says: ${report.thread})`
      );
    case 'running':
      return `running: the event loop turns; in ${report.watchedMs} ms the program's code was found at work ${percent(report.busy)} of the time, most often here:`;
    case 'idle':
      return `idle: the event loop turns and ran no code of the program in ${report.watchedMs} ms`;
  }
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
