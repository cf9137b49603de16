// The job that has dead letters tried again when their time has come.
import type { ChangeContext } from '../../coupons/changes.js';
import { retryDueLetters } from '../../coupons/dead-letter-retry.js';
import type { Log } from '../../platform/log.js';
import type { ScheduledJob } from './jobs.js';

const EVERY_MS = 2_000;

export function retryDeadLettersJob(context: ChangeContext, log: Log): ScheduledJob {
  return {
    name: 'retry-dead-letters',
    everyMs: EVERY_MS,
    run: async () => {
      const tried = await retryDueLetters(context);
      if (tried > 0) log.info({ tried }, 'dead letters are tried again');
    },
  };
}
