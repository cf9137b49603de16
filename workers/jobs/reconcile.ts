// The job that reconciles Redis with MySQL every minute, and the metrics that tell of the latest time, whoever did it.
import type { ChangeContext } from '../../coupons/changes.js';
import { countLetters } from '../../coupons/dead-letters.js';
import { readReconciliation, reconcile } from '../../coupons/reconcile.js';
import { StampedeError } from '../../platform/errors.js';
import type { Log } from '../../platform/log.js';
import type { Metrics } from '../../platform/metrics/metrics.js';
import type { Pool } from '../../platform/mysql.js';
import type { ScheduledJob } from './jobs.js';

const EVERY_MS = 60_000;
/** A reconciliation that takes long is followed by a rest of this many times as long. */
const REST_FACTOR = 4;

export function reconcileJob(context: ChangeContext, log: Log): ScheduledJob {
  return {
    name: 'reconcile',
    everyMs: EVERY_MS,
    run: async () => {
      const latest = await readReconciliation(context.mysql);
      if (latest !== undefined && Date.now() - latest.finishedAt < latest.report.durationMs * REST_FACTOR) return;
      try {
        const { report, repairs } = await reconcile({ ...context, log });
        if (!report.ok) log.error({ report, repairs: repairs.length }, 'invariants are violated');
      } catch (error) {
        if (!(error instanceof StampedeError) || error.code !== 'fenced') throw error;
        log.info(`not reconciled: ${error.message}`);
      }
    },
  };
}

export function watchReconciliation(mysql: Pool, metrics: Metrics): void {
  const violations = metrics.gauge(
    'stampede_invariant_violations',
    'Where an invariant did not hold at the latest reconciliation.',
    ['invariant'],
    'max',
  );
  const finishedAt = metrics.gauge(
    'stampede_reconciliation_timestamp_seconds',
    'When the latest reconciliation ended.',
    [],
    'max',
  );
  const repairs = metrics.gauge('stampede_reconciliation_repairs', 'Repairs of the latest reconciliation.', [], 'max');
  const letters = metrics.gauge('stampede_dead_letters', 'Outbox entries that MySQL does not take.', [], 'max');
  metrics.collect('reconciliation', [violations, finishedAt, repairs, letters], async () => {
    letters.set(await countLetters(mysql));
    const latest = await readReconciliation(mysql);
    if (latest === undefined) return;
    for (const invariant of latest.report.invariants) {
      violations.set({ invariant: invariant.name }, invariant.violations);
    }
    finishedAt.set(latest.finishedAt / 1_000);
    repairs.set(latest.repairs.length);
  });
}
