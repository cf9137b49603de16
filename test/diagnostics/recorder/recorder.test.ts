// The recorder in a real program (program.mjs), run as a process of its own: its hooks are the whole process'.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import type { RecorderSnapshot, SiteSample, TraceResult } from '../../../diagnostics/model.js';

const PROGRAM = new URL('program.mjs', import.meta.url);
const COUNT = 14;
/** Node's usual number of listeners, which is not recorded. */
const UNRECORDED_LISTENERS = 10;

interface Seen {
  readonly snapshot: RecorderSnapshot;
  readonly trace: TraceResult;
  readonly full: TraceResult;
  readonly isRestored: boolean;
  readonly stopped: RecorderSnapshot;
}

let seen: Seen;
beforeAll(() => {
  seen = JSON.parse(
    execFileSync(process.execPath, ['--expose-gc', fileURLToPath(PROGRAM)], { encoding: 'utf8' }),
  ) as Seen;
});

const source = readFileSync(PROGRAM, 'utf8').split('\n');

/** The sites of the line of the program that begins with `start`. */
function sitesAt(start: string): SiteSample[] {
  const line = source.findIndex((text) => text.trim().startsWith(start)) + 1;
  expect(line).toBeGreaterThan(0);
  return seen.snapshot.sites.filter(({ stack }) => stack[0]?.file === PROGRAM.href && stack[0].line === line);
}

describe('what is live', () => {
  it.each([
    ['heldPromise', 'promise', 'PROMISE'],
    ['unrefTimeout', 'timer', 'Timeout'],
    ['timeoutByName', 'timer', 'Timeout'],
    ['interval', 'timer', 'Interval'],
    ['sleep', 'timer', 'timers/promises'],
    ['waiting', 'timer', 'timers/promises'],
    ['ticks', 'timer', 'Interval'],
    ['signalTimeout', 'timer', 'AbortSignal.timeout'],
  ])('%s: all of them, with line and age', (start, kind, type) => {
    const [site, ...more] = sitesAt(start);
    expect(more).toEqual([]);
    expect(site).toMatchObject({ kind, type, live: COUNT, sampled: COUNT });
    expect(site?.ageMaxMs).toBeGreaterThan(0);
    expect(site?.ages?.every((count, step, all) => count <= (all[step - 1] ?? COUNT))).toBe(true);
  });

  it('keeps nothing alive: ticks that nobody has any more are forgotten', () => {
    expect(sitesAt('droppedTicks')).toEqual([]);
  });

  it('tells the delay of a timer', () => {
    expect(sitesAt('interval')[0]?.details).toEqual({ delayMs: 3_600_000 });
  });

  it.each(['settledPromise', 'clearedTimeout', 'firedTimeout', 'leftTicks', 'abortedTicks', 'immediate'])(
    '%s is forgotten',
    (start) => {
      expect(sitesAt(start)).toEqual([]);
    },
  );

  it('tells abandoned promises from pending ones, and who waited', () => {
    const sites = sitesAt('abandonedAwait');
    expect(sites.map(({ kind, live }) => [kind, live])).toEqual([
      ['abandoned', COUNT],
      ['abandoned', COUNT],
      ['abandoned', COUNT],
    ]);
    expect(sites.map(({ details }) => details.by).toSorted()).toEqual(['async function', 'await', 'new Promise']);
  });

  it('does not count the abandoned ones as live', () => {
    const pending = seen.snapshot.sites.filter(({ kind, type }) => kind === 'promise' && type === 'PROMISE');
    expect(seen.snapshot.liveByType['PROMISE']).toBe(pending.reduce((sum, { live }) => sum + live, 0));
    expect(Object.keys(seen.snapshot.liveByType).filter((type) => type.includes('abandoned'))).toEqual([]);
  });

  it('sees listeners beyond the usual number, and forgets those that were taken off', () => {
    expect(sitesAt('listener:')).toMatchObject([{ kind: 'listener', live: COUNT - UNRECORDED_LISTENERS }]);
    const once = sitesAt('onceListener').filter(({ type }) => type === "'y' listener");
    expect(once).toMatchObject([{ live: COUNT - UNRECORDED_LISTENERS }]);
    expect(sitesAt('emitter.on(')).toEqual([]);
  });

  it('sees both ends of a connection, the one with the line that opened it', () => {
    expect(sitesAt('const socket = connect')).toMatchObject([{ kind: 'handle', type: 'Socket', live: 1 }]);
    // With sweeps this close together the recorder samples from the second handle on.
    expect(seen.snapshot.liveByType['accepted Socket']).toBeGreaterThanOrEqual(1);
    expect(seen.snapshot.liveByType).toMatchObject({ Interval: 2 * COUNT, Socket: 1 });
  });

  it('sees a server by the line that opened it, until it is closed, and none that could not listen', () => {
    expect(sitesAt('const server = ')).toMatchObject([{ kind: 'handle', type: 'Server', live: 1 }]);
    expect(sitesAt('const closedServer = ')).toEqual([]);
    expect(sitesAt('const refused = ')).toEqual([]);
    expect(seen.snapshot.liveByType).toMatchObject({ Server: 1 });
    expect(Object.keys(seen.snapshot.liveByType)).not.toContain('TCPServerWrap');
  });

  it('shows its own size and its bounds', () => {
    const { own, mode, promiseRate, stacksPerSecondMax } = seen.snapshot;
    expect(mode).toBe('always-on');
    // How many it samples depends on how fast the machine is; that it says so does not.
    expect(promiseRate).toBeGreaterThanOrEqual(1);
    expect(stacksPerSecondMax).toBeGreaterThan(0);
    expect(own.entries).toBeGreaterThan(0);
    expect(own.entries).toBeLessThan(own.entriesMax);
    expect(own.bytes).toBeGreaterThan(0);
  });
});

describe('a trace window', () => {
  it('has every resource with its stack, its trigger and its end', () => {
    const timer = seen.trace.entries.find(({ type }) => type === 'Timeout');
    expect(timer?.stack[0]?.file).toBe(PROGRAM.href);
    expect(timer?.triggerAsyncId).toEqual(expect.any(Number));
    const promise = seen.trace.entries.find(({ type, endedAt }) => type === 'PROMISE' && endedAt !== undefined);
    expect(promise).toBeDefined();
    expect(seen.trace.dropped).toBe(0);
  });

  it('keeps to its mode and its maximum, and counts what it dropped', () => {
    expect(seen.full.entries.map(({ type }) => type)).toEqual(['PROMISE', 'PROMISE']);
    expect(seen.full.dropped).toBeGreaterThan(0);
  });
});

describe('after stop', () => {
  it('nothing of it remains', () => {
    expect(seen.isRestored).toBe(true);
    expect(seen.stopped).toMatchObject({ mode: 'off', sites: [] });
  });
});
