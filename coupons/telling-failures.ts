// What callers of the coupons hear when a database is away or refuses to write: stable codes instead of drivers' errors.
import type { CouponsService } from './coupons.js';
import { isDatabaseFailure } from '../platform/database-failure.js';
import type { ErrorCode } from '../platform/errors.js';
import { StampedeError } from '../platform/errors.js';

/** Drivers' errors become what callers know: `unavailable` for what only reads, `outcome_unknown` for what may have changed. */
export function tellingDatabaseFailures(service: CouponsService): CouponsService {
  const reading = telling('unavailable');
  const changing = telling('outcome_unknown', 'The change may have been made. Ask again: it is made once.');
  return {
    start: () => service.start(),
    stop: () => service.stop(),
    unreadyReasons: () => service.unreadyReasons(),
    show: (couponId) => reading(() => service.show(couponId)),
    list: (page) => reading(() => service.list(page)),
    newest: (limit) => reading(() => service.newest(limit)),
    claims: (couponId, filter) => reading(() => service.claims(couponId, filter)),
    audit: (onProgress) => reading(() => service.audit(onProgress)),
    reconcile: () => changing(() => service.reconcile()),
    create: (coupon) => changing(() => service.create(coupon)),
    pause: (couponId) => changing(() => service.pause(couponId)),
    resume: (couponId) => changing(() => service.resume(couponId)),
    setWindow: (couponId, window) => changing(() => service.setWindow(couponId, window)),
    adjust: (couponId, change) => changing(() => service.adjust(couponId, change)),
    deadLetters: {
      list: (page) => reading(() => service.deadLetters.list(page)),
      retry: (id) => changing(() => service.deadLetters.retry(id)),
    },
    shards: () => reading(() => service.shards()),
    releaseWithheld: (couponId) => changing(() => service.releaseWithheld(couponId)),
    rebuildShard: (shard) => changing(() => service.rebuildShard(shard)),
    finish: (couponId) => changing(() => service.finish(couponId)),
  };
}

function telling(code: ErrorCode, detail?: string): <T>(work: () => Promise<T>) => Promise<T> {
  return async (work) => {
    try {
      return await work();
    } catch (error) {
      if (isDatabaseFailure(error)) throw new StampedeError(code, detail, {}, error);
      throw error;
    }
  };
}
