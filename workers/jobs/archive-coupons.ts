// The job that archives coupons which ended long ago.
import { archiveCoupon, readArchivable } from '../../coupons/archive.js';
import type { ChangeContext } from '../../coupons/changes.js';
import { messageOf } from '../../platform/errors.js';
import type { Log } from '../../platform/log.js';
import type { ScheduledJob } from './jobs.js';

const EVERY_MS = 60_000;
const COUPONS_MAX = 100;

/** `afterMs`: how long after its end a coupon is archived. */
export function archiveCouponsJob(context: ChangeContext, afterMs: number, log: Log): ScheduledJob {
  return {
    name: 'archive-coupons',
    everyMs: EVERY_MS,
    run: async () => {
      for (const couponId of await readArchivable(context, afterMs, COUPONS_MAX)) {
        try {
          if (await archiveCoupon(context, couponId)) log.info({ couponId }, 'coupon archived');
          else log.warn({ couponId }, 'coupon not archived: Redis and MySQL do not agree about it yet');
        } catch (error) {
          // A fenced shard, most likely: the other coupons should not wait for it.
          log.warn({ couponId, reason: messageOf(error) }, 'coupon not archived for now');
        }
      }
    },
  };
}
