// What the load consists of: which coupons there are at what time, who asks for them, and how often. Plain data out of the
// seed; clients.ts and operators.ts live by it.
import type { Random } from './random.js';
import { pick, wholeBetween } from './random.js';

export interface PlannedCoupon {
  readonly couponId: string;
  readonly total: number;
  /** How many different users ask for it. */
  readonly users: number;
  /** ms after its creation; null: no bound. */
  readonly opensAfterMs: number | null;
  readonly closesAfterMs: number | null;
  /** Where not, asking to give a claim back is refused. */
  readonly returnable: boolean;
}

/** New coupons come this often, so that there is always one to be fought for. */
export const GENERATION_MS = 15_000;
/** Of the requests; the others go to coupons of earlier generations, whose winners ask again. */
const CURRENT_SHARE = 0.8;
/** How the requests are spread over the coupons of a generation, hottest first. */
const SHARES = [0.4, 0.75, 1] as const;

/** The coupons of one generation: hot (sells out at once), cold (never does), and one with a window. */
export function generation(number: number, random: Random): PlannedCoupon[] {
  const hot = wholeBetween(random, 80, 200);
  return [
    {
      couponId: `hot-${number}`,
      total: hot,
      users: 3 * hot,
      opensAfterMs: null,
      closesAfterMs: null,
      returnable: true,
    },
    {
      couponId: `cold-${number}`,
      total: 5_000,
      users: 3_000,
      opensAfterMs: null,
      closesAfterMs: null,
      returnable: true,
    },
    {
      couponId: `window-${number}`,
      total: 1_000,
      users: 900,
      opensAfterMs: wholeBetween(random, 2_000, 5_000),
      closesAfterMs: wholeBetween(random, 10_000, 20_000),
      returnable: false,
    },
  ];
}

/** Which coupon, out of generations in order (the last one is current), and which user. */
export function choose(generations: readonly (readonly PlannedCoupon[])[], random: Random): [PlannedCoupon, string] {
  const current = generations.at(-1) ?? [];
  const coupons = random() < CURRENT_SHARE ? current : pick(random, generations);
  const share = random();
  const coupon = coupons[SHARES.findIndex((bound) => share < bound)];
  if (coupon === undefined) throw new Error('a generation without its coupons');
  return [coupon, `user-${wholeBetween(random, 1, coupon.users)}`];
}
