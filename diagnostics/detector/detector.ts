// Says which lines of the code leak. Fed with the recorder's snapshots, one after the other; pure and deterministic: its
// only clock is the snapshots' own. Per site it follows what is *old*: live for longer than about a third of the window,
// plus what was abandoned. Requests in flight, bursts and short polls never get into that number; pools and keep-alive
// connections get into it once and stand still; a leak makes it rise and rise.
import type { LeakReport, LeakSite, RecorderSnapshot, SiteSample } from '../model.js';
import { AGE_STEPS_MS } from '../model.js';
import { adviceFor } from './advice.js';
import { countOf, History, placeOf } from './history.js';
import type { Trend } from './trend.js';
import { trendOf } from './trend.js';

/** Old is then 16 s: suspect after about 60 s of growth, leaking after 100 s; what ends within 40 s is neither. */
const WINDOW_MS = 40_000;
/** A growth that has gone on for so many windows is a leak, */
const CONFIRMING_WINDOWS = 2;
/** also if it paused for a moment: of its steps so many went up. Within a single window all must. */
const CONFIRMING_RISING_SHARE = 0.9;
/** Leaks too slow for one window show in one so many times as long. */
const SLOW_FACTOR = 8;
/** Old is the longest step of ages within this share of the window. */
const OLD_SHARE = 0.5;
/** A growth of fewer recorded ones than this may be chance. */
const SAMPLED_GROWTH_MIN = 6;
/** Where a leak is certain from those who wait, so many recorded ones are enough to name what they wait for. */
const AWAITED_GROWTH_MIN = 3;
/** One-shot timers of up to this delay get the time to fire before they are called a leak. */
const PATIENT_DELAY_MS_MAX = 600_000;
const SITES_REPORTED_MAX = 20;
/** The recorder's default holds half as many. */
const HISTORIES_MAX = 4_000;

export interface DetectorOptions {
  /** ms over which growth is judged, and eight times as long for slow ones. Suspect after about 1.4 of it, leaking after 2.4. */
  readonly windowMs?: number;
}

export interface Detector {
  /** Snapshots in the order of their `at`; evenly, at least 12 per window. */
  add(snapshot: RecorderSnapshot): void;
  report(): LeakReport;
}

interface Judged {
  readonly site: LeakSite;
  readonly sample: SiteSample;
  /** ms over which it was judged. */
  readonly scaleMs: number;
}

export function createDetector({ windowMs = WINDOW_MS }: DetectorOptions = {}): Detector {
  const keptMs = windowMs * CONFIRMING_WINDOWS * SLOW_FACTOR;
  const oldStep = Math.max(
    0,
    AGE_STEPS_MS.findLastIndex((ageMs) => ageMs <= windowMs * OLD_SHARE),
  );
  const oldMs = AGE_STEPS_MS[oldStep] ?? 0;
  const histories = new Map<string, History>();
  /** Of the snapshots within the longest span. */
  let times: number[] = [];
  let from: number | undefined;
  let to = 0;

  const judge = (history: History): Judged | undefined => {
    const sample = history.latest;
    const scales = [windowMs, windowMs * SLOW_FACTOR].map((scaleMs) => {
      const window = trendOf(history.points, scaleMs, scaleMs);
      const long = trendOf(history.points, scaleMs, scaleMs * CONFIRMING_WINDOWS);
      return {
        scaleMs,
        trend: long ?? window,
        isSuspect: window !== undefined && isLeakLike(window, 1, sample),
        isConfirmed:
          long !== undefined &&
          (isLeakLike(long, CONFIRMING_RISING_SHARE, sample) ||
            // What was a leak is one until it stops growing: a moment's unevenness is no recovery.
            (history.confirmedScaleMs === scaleMs && hasGrown(long, SAMPLED_GROWTH_MIN, sample) && isGrowing(window))),
      };
    });
    const found = scales.find(({ isConfirmed }) => isConfirmed) ?? scales.find(({ isSuspect }) => isSuspect);
    if (found?.trend === undefined) {
      history.since = undefined;
      history.confirmedScaleMs = undefined;
      return undefined;
    }
    history.since ??= to - found.scaleMs - oldMs;
    const isConfirmed = found.isConfirmed && hasHadTime(sample, to - history.since - windowMs - oldMs);
    history.confirmedScaleMs = isConfirmed ? found.scaleMs : undefined;
    return judged(history, found.trend, found.scaleMs, isConfirmed && sample.stack.length > 0 ? 'leaking' : 'suspect');
  };

  /** Who waits is named with what made them wait: of that, having grown as much is enough, however unevenly it was sampled. */
  const awaitedBy = (waiters: readonly Judged[], history: History): Judged | undefined => {
    const sample = history.latest;
    if (closenessOf(sample) > 0 || sample.stack.length === 0) return undefined;
    for (const { site, scaleMs } of waiters) {
      const trend = trendOf(history.points, scaleMs, scaleMs * CONFIRMING_WINDOWS);
      if (trend !== undefined && hasGrown(trend, AWAITED_GROWTH_MIN, sample) && growsLike(trend, site))
        return judged(history, trend, scaleMs, 'suspect');
    }
    return undefined;
  };

  const judged = (history: History, trend: Trend, scaleMs: number, verdict: LeakSite['verdict']): Judged => {
    const sample = history.latest;
    const kind = isPromise(sample) && history.abandonedGrowth * 2 > trend.growth ? 'abandoned' : sample.kind;
    const site: LeakSite = {
      siteId: sample.siteId,
      verdict,
      kind,
      type: sample.type,
      stack: sample.stack,
      live: history.value,
      growthPerMinute: Math.round(trend.growthPerMinute * 10) / 10,
      oldestSeconds: Math.round(sample.ageMaxMs / 100) / 10,
      since: new Date(history.since ?? to - scaleMs - oldMs).toISOString(),
      ...adviceFor(kind, sample.type),
    };
    return { site, sample, scaleMs };
  };

  return {
    add(snapshot) {
      from ??= snapshot.at;
      to = snapshot.at;
      const places = new Map<string, SiteSample[]>();
      for (const sample of snapshot.sites) {
        // Promises of Node's own have no line of the user's.
        if (isPromise(sample) && sample.stack.length === 0) continue;
        const place = placeOf(sample);
        places.set(place, [...(places.get(place) ?? []), sample]);
      }
      for (const [place, [latest]] of places) {
        if (latest === undefined || histories.has(place) || histories.size >= HISTORIES_MAX) continue;
        histories.set(place, new History(latest, times));
      }
      for (const [place, history] of histories) {
        const samples = places.get(place) ?? [];
        history.latest = samples.find(({ kind }) => kind !== 'abandoned') ?? samples[0] ?? history.latest;
        history.add(to, countOf(samples, oldStep));
        history.forgetBefore(to - keptMs);
        if (samples.length === 0 && history.isEmpty) histories.delete(place);
      }
      times = [...times.filter((at) => at >= to - keptMs), to];
    },
    report() {
      const grown = new Map([...histories.values()].map((history) => [history, judge(history)]));
      const found = [...grown.values()].filter((each) => each !== undefined);
      const waiters = found.filter(({ site, sample }) => site.verdict === 'leaking' && closenessOf(sample) > 0);
      const awaited = [...grown]
        .map(([history, each]) => (each === undefined ? awaitedBy(waiters, history) : undefined))
        .filter((each) => each !== undefined);
      const all = [...found, ...awaited];
      const sites = all
        .filter((each) => !isHarmlessLoser(each, all))
        .map((each) => withVerdictOfItsLike(each, all))
        .toSorted(worstFirst);
      // What has no line, such as accepted sockets, is evidence beside a line; alone it is but a growing number of clients.
      const reported = sites.some(({ sample }) => sample.stack.length > 0)
        ? sites.slice(0, SITES_REPORTED_MAX).map(({ site }) => site)
        : [];
      return { verdict: reported[0]?.verdict ?? 'clean', sites: reported, from: from ?? 0, to };
    },
  };
}

function isPromise({ kind }: SiteSample): boolean {
  return kind === 'promise' || kind === 'abandoned';
}

function isLeakLike(trend: Trend, shareMin: number, sample: SiteSample): boolean {
  return trend.isRising && trend.risingShare >= shareMin && hasGrown(trend, SAMPLED_GROWTH_MIN, sample);
}

function hasGrown({ growth }: Trend, sampledMin: number, { live, sampled }: SiteSample): boolean {
  return growth >= sampledMin * (sampled === 0 ? 1 : live / sampled);
}

function isGrowing(newest: Trend | undefined): boolean {
  return newest !== undefined && newest.growth > 0;
}

function growsLike({ growthPerMinute }: { readonly growthPerMinute: number }, other: LeakSite): boolean {
  const [less, more] = [growthPerMinute, other.growthPerMinute].toSorted((a, b) => a - b);
  return (less ?? 0) >= (more ?? 0) * LIKE_GROWTH_SHARE_MIN;
}

/** Timeouts that are made steadily rise until the first ones fire: that is no leak yet. */
function hasHadTime({ kind, type, details }: SiteSample, growingMs: number): boolean {
  const delayMs = details.delayMs;
  if (kind !== 'timer' || type === 'Interval' || typeof delayMs !== 'number') return true;
  return delayMs > PATIENT_DELAY_MS_MAX || growingMs > delayMs;
}

/** Through these somebody waits: when such a promise is abandoned, code is stuck. */
const WAITERS = new Set<unknown>(['await', 'async function', 'Promise.then', 'Promise.catch', 'Promise.finally']);
/** Of the growth of what was abandoned here: so much of it must be waited for somewhere. */
const WAITED_SHARE_MIN = 0.5;

/** A loser of Promise.race that was collected: it did no harm unless somebody was waiting for it alone. */
function isHarmlessLoser({ site, sample }: Judged, all: readonly Judged[]): boolean {
  if (site.kind !== 'abandoned' || WAITERS.has(sample.details.by)) return false;
  return !all.some(
    (other) =>
      other.site.kind === 'abandoned' &&
      WAITERS.has(other.sample.details.by) &&
      other.site.growthPerMinute >= site.growthPerMinute * WAITED_SHARE_MIN,
  );
}

/** Places that grow alike within this share see one leak from its several ends, */
const LIKE_GROWTH_SHARE_MIN = 0.5;

/** and the first whose growth is confirmed speaks for all: the one that names the cause may be confirmed a moment later. */
function withVerdictOfItsLike(each: Judged, all: readonly Judged[]): Judged {
  const isConfirmed =
    each.sample.stack.length > 0 && all.some(({ site }) => site.verdict === 'leaking' && growsLike(each.site, site));
  return isConfirmed ? { ...each, site: { ...each.site, verdict: 'leaking' } } : each;
}

/** The closer to the cause the higher: what was made, then who waits for it, then whose functions they are. */
const CLOSENESS: Readonly<Record<string, number>> = {
  await: 1,
  'async function': 2,
  'Promise.then': 3,
  'Promise.catch': 3,
  'Promise.finally': 3,
};

/** 0: what was made. Above: somebody who waits. */
function closenessOf({ details }: SiteSample): number {
  return CLOSENESS[String(details.by)] ?? 0;
}

function worstFirst(a: Judged, b: Judged): number {
  return (
    Number(b.site.verdict === 'leaking') - Number(a.site.verdict === 'leaking') ||
    closenessOf(a.sample) - closenessOf(b.sample) ||
    b.site.growthPerMinute - a.site.growthPerMinute
  );
}
