// Says whether a series of counts grows without end. Pure functions; the judgement of what the counts mean is elsewhere.

export interface Point {
  /** Epoch ms. */
  readonly at: number;
  readonly value: number;
}

export interface Trend {
  /** Over the whole span: last floor minus first floor. */
  readonly growth: number;
  readonly growthPerMinute: number;
  /** Of the steps from floor to floor: the share that goes up. */
  readonly risingShare: number;
  /** True when it rises now, gave nothing back, and did not slow down as a cache that fills does. */
  readonly isRising: boolean;
}

/** The span is looked at in pieces; the lowest count of each is its floor, which bursts that ebb do not raise. */
const PIECE_SHARE = 1 / 6;
/** Of the growth that may be given back in one step. */
const FALL_SHARE_MAX = 0.2;
/** Growth in the later half against that in the earlier: below it the growth is running out. */
const LATER_HALF_SHARE_MIN = 0.4;
/** Of the pieces that must hold a point. */
const KNOWN_SHARE_MIN = 2 / 3;
const MS_PER_MINUTE = 60_000;

/**
 * Trend of the points of the last `spanMs`, in pieces of a sixth of `windowMs`. undefined while the points do not reach
 * that far back, or leave too many pieces empty.
 */
export function trendOf(points: readonly Point[], windowMs: number, spanMs: number): Trend | undefined {
  const latest = points.at(-1);
  const earliest = points[0];
  if (latest === undefined || earliest === undefined) return undefined;
  const pieceMs = windowMs * PIECE_SHARE;
  const pieces = Math.round(spanMs / pieceMs);
  if (latest.at - earliest.at < pieces * pieceMs) return undefined;
  const floors: (number | undefined)[] = Array.from({ length: pieces });
  for (const { at, value } of points) {
    const piece = pieces - 1 - Math.floor((latest.at - at) / pieceMs);
    if (piece >= 0) floors[piece] = Math.min(floors[piece] ?? Infinity, value);
  }
  // A blocked main thread leaves gaps.
  const known = floors.filter((floor) => floor !== undefined);
  return known.length < pieces * KNOWN_SHARE_MIN ? undefined : judge(known, (pieces * pieceMs) / known.length);
}

function judge(floors: readonly number[], pieceMs: number): Trend {
  const [first = 0, last = 0, middle = 0] = [floors[0], floors.at(-1), floors[floors.length >> 1]];
  const growth = last - first;
  const steps = floors.slice(1).map((floor, index) => floor - (floors[index] ?? 0));
  const rising = steps.filter((step) => step > 0).length;
  const isRising =
    growth > 0 &&
    Math.min(...steps) >= -growth * FALL_SHARE_MAX &&
    (steps.at(-1) ?? 0) > 0 &&
    last - middle >= (middle - first) * LATER_HALF_SHARE_MIN;
  const growthPerMinute = (growth * MS_PER_MINUTE) / (steps.length * pieceMs);
  return { growth, growthPerMinute, risingShare: rising / steps.length, isRising };
}
