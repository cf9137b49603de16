// The metrics of the claim path and of the ledger, against a real Redis and a real MariaDB.
import { beforeAll, describe, expect, it } from 'vitest';
import { watchCoupons } from '../../cluster/admin/coupon-metrics.js';
import { outboxKey } from '../../coupons/keys.js';
import { createLog } from '../../platform/log.js';
import { Metrics } from '../../platform/metrics/metrics.js';
import type { Installation } from '../harness/installation.js';
import { createInstallation } from '../harness/installation.js';
import { waitFor } from '../harness/wait-for.js';
import { watchOutbox } from '../../workers/ledger/ledger-metrics.js';

const create = () => new Metrics({ name: 'test', role: 'test', log: createLog('test', 'silent') });

/** Its values by their labels, as in `result=claimed`; of a metric without labels by ''. */
async function valuesOf(metrics: Metrics, name: string): Promise<Record<string, number>> {
  const metric = (await metrics.snapshot()).find((one) => one.name === name);
  return Object.fromEntries(
    (metric?.values ?? []).map(({ labels, value, metricName }) => {
      const text = Object.entries(labels).map(([label, of]) => `${label}=${of}`);
      return [[...(metricName === undefined ? [] : [metricName.slice(name.length + 1)]), ...text].join(','), value];
    }),
  );
}

describe('the metrics of', () => {
  let installation: Installation;
  const [ofLedger, ofClaims, ofCoupons] = [create(), create(), create()];

  beforeAll(async () => {
    installation = await createInstallation();
    await installation.startLedger('ledger-1', ofLedger);
    const coupons = await installation.startCoupons();
    watchCoupons(coupons, ofCoupons);
    const claims = await installation.startClaims({}, ofClaims);
    await coupons.create({
      ...{ couponId: 'summer', total: 6, opensAt: null, closesAt: null, returnable: false, ack: undefined },
    });
    const users = Array.from({ length: 10 }, (_, i) => `user-${i}`);
    for (const user of [...users, 'user-0']) await claims.claim('summer', user);
    await claims.claimAll('nothing', users);
    await waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'the outbox to be empty' });
  });

  it('claims: every claim by its outcome, timed, in batches', async () => {
    const results = await valuesOf(ofClaims, 'stampede_claims_total');
    expect(results).toMatchObject({
      'result=claimed': 6,
      'result=already_claimed': 1,
      'result=sold_out': 4,
      'result=unknown_coupon': 10,
      'result=outcome_unknown': 0,
    });
    expect((await valuesOf(ofClaims, 'stampede_claim_duration_seconds'))['count']).toBe(21);
    const batches = await valuesOf(ofClaims, 'stampede_claim_batch_size');
    expect(batches['sum']).toBe(21);
    // Ten came at once, the others one after the other.
    expect(batches['count']).toBe(12);
    expect((await valuesOf(ofClaims, 'stampede_claim_call_duration_seconds'))['count']).toBe(12);
    expect(await valuesOf(ofClaims, 'stampede_mailbox_depth')).toEqual({ '': 0 });
  });

  it('the newest coupons: what they hold', async () => {
    expect(await valuesOf(ofCoupons, 'stampede_coupon_stock')).toEqual({ 'coupon=summer': 6 });
    expect(await valuesOf(ofCoupons, 'stampede_coupon_remaining')).toEqual({ 'coupon=summer': 0 });
    expect(await valuesOf(ofCoupons, 'stampede_coupon_claimed')).toEqual({ 'coupon=summer': 6 });
    expect(await valuesOf(ofCoupons, 'stampede_coupon_withheld')).toEqual({ 'coupon=summer': 0 });
  });

  it('the ledger: rows, shards, writer threads and the queue of jobs', async () => {
    expect(await valuesOf(ofLedger, 'stampede_ledger_rows_total')).toEqual({ '': 6 });
    expect(await valuesOf(ofLedger, 'stampede_ledger_write_failures_total')).toEqual({ '': 0 });
    expect(await valuesOf(ofLedger, 'stampede_shards')).toEqual({
      'state=open': 4,
      'state=rebuilding': 0,
      'state=fenced': 0,
    });
    expect(await valuesOf(ofLedger, 'stampede_withheld_units')).toEqual({ '': 0 });
    expect(await valuesOf(ofLedger, 'stampede_writer_threads')).toEqual({ '': 2 });
    expect(await valuesOf(ofLedger, 'stampede_ledger_waiting_batches')).toEqual({ '': 0 });
    const busy = Object.values(await valuesOf(ofLedger, 'stampede_writer_utilization_ratio'));
    expect(busy).toHaveLength(2);
    for (const ratio of busy) expect(ratio).toBeLessThanOrEqual(1);
    expect(await valuesOf(ofLedger, 'stampede_queue_jobs')).toMatchObject({ 'queue=jobs,state=failed': 0 });
    await waitFor(
      async () => ((await valuesOf(ofLedger, 'stampede_job_duration_seconds'))['count,name=finish-changes'] ?? 0) > 0,
      {
        what: 'a job to have run',
      },
    );
  });

  it('the outbox: its length and the age of its oldest entry; nothing while Redis is away', async () => {
    // Its streams are of no shard that a ledger serves here.
    const metrics = create();
    const shards = installation.settings.shardCount + 2;
    watchOutbox(installation.redis, shards, metrics);
    expect(await valuesOf(metrics, 'stampede_ledger_lag_seconds')).toEqual({ '': 0 });

    const [seconds] = await installation.redis.time();
    await installation.redis.xadd(outboxKey(shards - 1), `${Number(seconds) - 60}000-0`, 'any', 'entry');
    await installation.redis.xadd(outboxKey(shards - 2), '*', 'any', 'entry');
    expect(await valuesOf(metrics, 'stampede_outbox_entries')).toEqual({ '': 2 });
    const lag = (await valuesOf(metrics, 'stampede_ledger_lag_seconds'))[''];
    expect(lag).toBeGreaterThanOrEqual(60);
    expect(lag).toBeLessThan(600);
  });
});
