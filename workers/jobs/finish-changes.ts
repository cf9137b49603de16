// The job that finishes changes of coupons which were asked for and then forgotten, because the process that asked died.
import type { ChangeContext } from '../../coupons/changes.js';
import { finishChange } from '../../coupons/changes.js';
import { readUnfinished } from '../../coupons/coupon-table.js';
import { messageOf } from '../../platform/errors.js';
import type { Log } from '../../platform/log.js';
import type { ScheduledJob } from './jobs.js';

const EVERY_MS = 5_000;
const COUPONS_MAX = 100;

export function finishChangesJob(context: ChangeContext, log: Log): ScheduledJob {
  return {
    name: 'finish-changes',
    everyMs: EVERY_MS,
    run: async () => {
      for (const couponId of await readUnfinished(context.mysql, COUPONS_MAX)) {
        try {
          await finishChange(context, couponId);
          log.info({ couponId }, 'unfinished change finished');
        } catch (error) {
          // A fenced shard, most likely: the next run comes soon, and the other coupons should not wait for it.
          log.warn({ couponId, reason: messageOf(error) }, 'unfinished change stays unfinished for now');
        }
      }
    },
  };
}
