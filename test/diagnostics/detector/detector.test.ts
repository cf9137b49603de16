// The detector on synthetic series: what leaks and what only looks like it. No clock but the snapshots'.
import { describe, expect, it } from 'vitest';
import { createDetector } from '../../../diagnostics/detector/detector.js';
import type { LeakReport, RecorderSnapshot, ResourceKind, SiteSample } from '../../../diagnostics/model.js';
import { AGE_STEPS_MS } from '../../../diagnostics/model.js';

const EVERY_MS = 5_000;
const START = Date.UTC(2026, 0, 1);
const FRAME = { functionName: 'handler', file: '/app/server.ts', line: 7, column: 3 };

interface Life {
  readonly bornMs: number;
  /** Infinity: never ends. */
  readonly diesMs: number;
}

interface Program {
  readonly lives: readonly Life[];
  readonly kind?: ResourceKind;
  readonly type?: string;
  readonly details?: SiteSample['details'];
  readonly stack?: SiteSample['stack'];
  /** How many each stands for. */
  readonly weight?: number;
}

function sampleAt(
  atMs: number,
  { lives, kind = 'promise', type = 'PROMISE', weight = 1, ...more }: Program,
): SiteSample {
  const ages = lives
    .filter(({ bornMs, diesMs }) => bornMs <= atMs && atMs < diesMs)
    .map(({ bornMs }) => atMs - bornMs)
    .toSorted((a, b) => a - b);
  return {
    siteId: 'site',
    kind,
    type,
    stack: more.stack ?? [FRAME],
    live: ages.length * weight,
    sampled: ages.length,
    created: 0,
    ended: 0,
    ageMinMs: ages[0] ?? 0,
    ageP50Ms: ages[ages.length >> 1] ?? 0,
    ageMaxMs: ages.at(-1) ?? 0,
    details: more.details ?? { by: 'new Promise' },
    ages: AGE_STEPS_MS.map((step) => ages.filter((age) => age >= step).length * weight),
  };
}

function snapshotAt(atMs: number, sites: readonly SiteSample[]): RecorderSnapshot {
  return {
    at: START + atMs,
    mode: 'always-on',
    promiseRate: 1,
    stacksPerSecond: 0,
    stacksPerSecondMax: 500,
    sites: sites.filter(({ live }) => live > 0),
    liveByType: {},
    own: { entries: 0, entriesMax: 1, sites: 0, sitesMax: 1, bytes: 0 },
  };
}

/** The verdicts over the whole time, and the last report. */
function follow(programs: readonly Program[], seconds: number): { verdicts: Set<string>; last: LeakReport } {
  const detector = createDetector();
  const verdicts = new Set<string>();
  for (let atMs = 0; atMs <= seconds * 1_000; atMs += EVERY_MS) {
    const sites = programs.map((program) => sampleAt(atMs, program));
    detector.add(snapshotAt(atMs, sites));
    verdicts.add(detector.report().verdict);
  }
  return { verdicts, last: detector.report() };
}

/** One every `everyMs` from `fromMs` to `toMs`, each living for `livesMs`. */
function births(everyMs: number, livesMs: number, fromMs = 0, toMs = 3_600_000): Life[] {
  const count = Math.floor((toMs - fromMs) / everyMs);
  return Array.from({ length: count }, (_, index) => {
    const bornMs = fromMs + index * everyMs;
    return { bornMs, diesMs: bornMs + livesMs };
  });
}

const TIMEOUT = { kind: 'timer', type: 'Timeout' } as const;

describe('leaks', () => {
  it('names a steady leak within two minutes, with line, rate and age', () => {
    const { last } = follow([{ lives: births(1_000, Infinity) }], 110);
    expect(last.verdict).toBe('leaking');
    const [site] = last.sites;
    expect(site?.stack[0]).toEqual(FRAME);
    expect(site?.growthPerMinute).toBeGreaterThan(54);
    expect(site?.growthPerMinute).toBeLessThan(66);
    expect(site?.oldestSeconds).toBe(110);
    expect(site?.link).toMatch(/^docs\/leaks\.md#/);
  });

  it('says suspect before it says leaking', () => {
    const { verdicts } = follow([{ lives: births(1_000, Infinity) }], 110);
    expect([...verdicts]).toEqual(['clean', 'suspect', 'leaking']);
  });

  it('finds one request in a hundred that hangs among many in flight', () => {
    const lives = [...births(50, 200, 0, 130_000), ...births(5_000, Infinity)];
    expect(follow([{ lives }], 120).last.verdict).toBe('leaking');
  });

  it('finds a leak that begins after an hour of quiet, and says since when', () => {
    const begin = 3_600_000;
    const lives = [...births(600_000, Infinity, 0, 1), ...births(500, Infinity, begin, begin + 300_000)];
    const { last } = follow([{ lives }], 3_600 + 120);
    expect(last.verdict).toBe('leaking');
    const since = Date.parse(last.sites[0]?.since ?? '') - START;
    expect(Math.abs(since - begin)).toBeLessThan(30_000);
  });

  it('finds it whether the garbage collection takes the abandoned ones or not', () => {
    const detector = createDetector();
    for (let atMs = 0; atMs <= 120_000; atMs += EVERY_MS) {
      // Every half a minute all pending ones are collected.
      const collectedAt = atMs - (atMs % 30_000);
      const pending = sampleAt(atMs, { lives: births(250, Infinity, collectedAt), details: { by: 'await' } });
      const gone = { ...pending, kind: 'abandoned', live: collectedAt / 250, sampled: collectedAt / 250 } as const;
      const { ages, ...abandoned } = gone;
      expect(ages).toBeDefined();
      detector.add(snapshotAt(atMs, [pending, abandoned]));
    }
    const report = detector.report();
    expect(report.verdict).toBe('leaking');
    expect(report.sites).toHaveLength(1);
    expect(report.sites[0]?.kind).toBe('abandoned');
  });

  it('finds intervals that nobody clears, and timeouts of an hour', () => {
    const interval = {
      kind: 'timer',
      type: 'Interval',
      details: { delayMs: 200 },
      lives: births(500, Infinity),
    } as const;
    expect(follow([interval], 100).last.verdict).toBe('leaking');
    const timeouts = { ...TIMEOUT, details: { delayMs: 3_600_000 }, lives: births(500, 3_600_000) };
    expect(follow([timeouts], 100).last.verdict).toBe('leaking');
  });

  it('goes back to clean when the leak stops and is freed', () => {
    const lives = births(500, Infinity, 0, 150_000).map(({ bornMs }) => ({ bornMs, diesMs: 200_000 }));
    const { verdicts, last } = follow([{ lives }], 300);
    expect(verdicts).toContain('leaking');
    expect(last.verdict).toBe('clean');
  });

  it('finds a leak of one in twenty seconds, within a quarter of an hour', () => {
    expect(follow([{ lives: births(20_000, Infinity) }], 900).last.verdict).toBe('leaking');
  });

  it('is not misled by gaps while the main thread was blocked', () => {
    const detector = createDetector();
    const program = { lives: births(500, Infinity) };
    for (let atMs = 0; atMs <= 120_000; atMs += EVERY_MS) {
      if (atMs < 60_000 || atMs > 75_000) detector.add(snapshotAt(atMs, [sampleAt(atMs, program)]));
    }
    expect(detector.report().verdict).toBe('leaking');
  });
});

describe('no leaks', () => {
  it.each<[string, Program[], number]>([
    ['a pool of connections', [{ kind: 'handle', type: 'Socket', lives: births(2_000, Infinity, 0, 24_000) }], 600],
    ['requests in flight under steady load', [{ lives: births(20, 400, 0, 200_000) }], 200],
    [
      'load that rises and rises',
      [{ lives: [...births(50, 900, 0, 180_000), ...births(25, 900, 60_000, 180_000)] }],
      180,
    ],
    ['a burst of slow work that ebbs', [{ lives: [...births(10, 30_000, 20_000, 30_000), ...births(200, 100)] }], 300],
    ['long polls that end after 30 s', [{ lives: births(300, 30_000, 0, 400_000) }], 400],
    ['long polls of 40 s', [{ lives: births(300, 40_000, 0, 400_000) }], 400],
    [
      'a cache whose entries expire after 30 s',
      [{ ...TIMEOUT, details: { delayMs: 30_000 }, lives: births(500, 30_000) }],
      300,
    ],
    [
      'a cache that fills to 24 entries',
      [{ ...TIMEOUT, details: { delayMs: 9e6 }, lives: births(1_000, Infinity, 0, 24_000) }],
      300,
    ],
    [
      'heartbeat timers',
      [{ ...TIMEOUT, type: 'Interval', details: { delayMs: 1_000 }, lives: births(1, Infinity, 0, 5) }],
      300,
    ],
    ['five that are left over', [{ lives: births(20_000, Infinity, 0, 100_001) }], 300],
    ['a few chance ones of a sparse sample', [{ lives: births(40_000, Infinity, 0, 120_000), weight: 1_000 }], 200],
  ])('%s', (_name, programs, seconds) => {
    const { verdicts } = follow(programs, seconds);
    expect(verdicts).toEqual(new Set(['clean']));
  });

  it.each<[string, Life[]]>([
    ['long polls of a minute', births(300, 60_000, 0, 400_000)],
    ['a cache that takes 50 s to fill', births(500, Infinity, 0, 50_000)],
  ])('%s: suspect for a moment at most', (_name, lives) => {
    const { verdicts, last } = follow([{ lives }], 400);
    expect(verdicts).not.toContain('leaking');
    expect(last.verdict).toBe('clean');
  });

  it('timeouts of five minutes that fire: suspect at most while the first are waiting', () => {
    const { verdicts, last } = follow(
      [{ ...TIMEOUT, details: { delayMs: 300_000 }, lives: births(500, 300_000) }],
      600,
    );
    expect(verdicts).not.toContain('leaking');
    expect(last.verdict).toBe('clean');
  });

  it('more and more clients that stay connected: no line to accuse', () => {
    const accepted: Program = { kind: 'handle', type: 'accepted Socket', stack: [], lives: births(1_000, Infinity) };
    expect(follow([accepted], 300).verdicts).toEqual(new Set(['clean']));
    const { last } = follow([accepted, { lives: births(1_000, Infinity) }], 300);
    expect(last.sites.map(({ kind, verdict }) => [kind, verdict])).toEqual([
      ['promise', 'leaking'],
      ['handle', 'suspect'],
    ]);
  });

  it('losers of Promise.race that are collected', () => {
    const detector = createDetector();
    for (let atMs = 0; atMs <= 300_000; atMs += EVERY_MS) {
      const { ages, ...sample } = sampleAt(atMs, { lives: births(500, Infinity), details: { by: 'Promise.race' } });
      expect(ages).toBeDefined();
      detector.add(snapshotAt(atMs, [{ ...sample, kind: 'abandoned' }]));
      expect(detector.report().verdict).toBe('clean');
    }
  });
});

describe('the report', () => {
  it('is clean and empty before there is anything to say', () => {
    expect(createDetector().report()).toEqual({ verdict: 'clean', sites: [], from: 0, to: 0 });
  });

  it('puts what was made before those who wait for it', () => {
    const lives = births(500, Infinity);
    const { last } = follow(
      [
        { lives, details: { by: 'async function' }, stack: [{ ...FRAME, line: 1 }] },
        { lives, details: { by: 'await' }, stack: [{ ...FRAME, line: 2 }] },
        { lives, details: { by: 'new Promise' }, stack: [{ ...FRAME, line: 3 }] },
      ],
      110,
    );
    expect(last.sites.map(({ stack }) => stack[0]?.line)).toEqual([3, 2, 1]);
  });

  it('names what was made in the first report that says leaking, though its growth was sampled unevenly', () => {
    const awaiting = { lives: births(500, Infinity), details: { by: 'await' }, stack: [{ ...FRAME, line: 2 }] };
    const uneven = [...births(500, Infinity, 0, 40_000), ...births(500, Infinity, 62_000)];
    const made = { lives: uneven, stack: [{ ...FRAME, line: 3 }] };
    const young = { lives: births(50, 200, 0, 130_000), stack: [{ ...FRAME, line: 4 }] };
    const lines = new Set<string>();
    for (let seconds = 60; seconds <= 120; seconds += 5) {
      const { sites } = follow([awaiting, made, young], seconds).last;
      if (sites[0]?.verdict === 'leaking') lines.add(sites.map(({ stack }) => stack[0]?.line).join(' '));
    }
    expect([...lines]).toEqual(['3 2']);
  });

  it('stops saying leaking when a leak has ended, though nothing is freed', () => {
    const lives = births(500, Infinity, 0, 120_000);
    expect(follow([{ lives }], 120).last.verdict).toBe('leaking');
    expect(follow([{ lives }], 180).last.verdict).toBe('clean');
  });

  it('does not call leaking what grows much faster than the leak beside it and is not confirmed', () => {
    const leak = { lives: births(500, Infinity), stack: [{ ...FRAME, line: 3 }] };
    const newcomer = { lives: births(100, Infinity, 60_000), stack: [{ ...FRAME, line: 4 }] };
    const { sites } = follow([leak, newcomer], 130).last;
    expect(sites.map(({ stack, verdict }) => [stack[0]?.line, verdict])).toEqual([
      [3, 'leaking'],
      [4, 'suspect'],
    ]);
  });

  it('goes on saying leaking when a leak grows unevenly for a while', () => {
    const lives = [...births(500, Infinity, 0, 120_000), ...births(3_000, Infinity, 137_000)];
    for (let seconds = 110; seconds <= 200; seconds += 5) {
      expect(follow([{ lives }], seconds).last.verdict).toBe('leaking');
    }
  });

  it('is the same for the same snapshots', () => {
    const programs = [{ lives: births(500, Infinity) }];
    expect(follow(programs, 100).last).toEqual(follow(programs, 100).last);
  });
});
