// What the newest coupons hold, as gauges: read from Redis and MySQL when somebody asks for the metrics, so that they are true after any
// restart and cost the claim path nothing. Old coupons have no series, however many there are.
import type { Coupons } from '../../coupons/coupons.js';
import type { Metrics } from '../../platform/metrics/metrics.js';

/** Coupons with series of their own. */
const COUPONS_MAX = 50;

export function watchCoupons(coupons: Pick<Coupons, 'newest'>, metrics: Metrics): void {
  const gauge = (name: string, help: string) =>
    metrics.gauge(name, `${help} Of the newest coupons.`, ['coupon'], 'max');
  const stock = gauge('stampede_coupon_stock', 'Units granted to a coupon.');
  const remaining = gauge('stampede_coupon_remaining', 'Units that can still be claimed.');
  const claimed = gauge('stampede_coupon_claimed', 'Claims handed out, returned ones included.');
  const withheld = gauge('stampede_coupon_withheld', 'Units kept back for workers that cannot be heard.');
  metrics.collect('coupons', [stock, remaining, claimed, withheld], async () => {
    for (const { couponId: coupon, total, live, withheld: units } of await coupons.newest(COUPONS_MAX)) {
      withheld.set({ coupon }, units);
      if (live === null) continue;
      stock.set({ coupon }, total);
      remaining.set({ coupon }, live.remaining);
      claimed.set({ coupon }, live.claimed);
    }
  });
}
