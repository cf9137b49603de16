// Reconciliation: what it repairs, in which direction only, and what the metrics tell of it. Real ledger, Redis and MariaDB.
import { beforeAll, beforeEach, expect, it } from 'vitest';
import type { CouponsService } from '../../coupons/coupons.js';
import { couponKeys, shardOf } from '../../coupons/keys.js';
import { Metrics } from '../../platform/metrics/metrics.js';
import { reconcileJob } from '../../workers/jobs/reconcile.js';
import { Shards } from '../../coupons/shards.js';
import { loadScripts } from '../../lua/scripts.js';
import type { AwaitedClaims } from '../harness/awaited-claims.js';
import type { Installation } from '../harness/installation.js';
import { createInstallation } from '../harness/installation.js';
import { waitFor } from '../harness/wait-for.js';

let installation: Installation;
let metrics: Metrics;
let claims: AwaitedClaims;
let coupons: CouponsService;

beforeAll(async () => {
  installation = await createInstallation();
  metrics = new Metrics({ name: 'ledger-1', role: 'ledger', log: installation.log });
  await installation.startLedger('ledger-1', metrics);
  claims = await installation.startClaims();
  coupons = await installation.startCoupons();
});
beforeEach(() => outboxEmpty());

const outboxEmpty = () =>
  waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'the outbox to be empty' });
const create = async (couponId: string, total: number, users: string[]) => {
  await coupons.create({ couponId, total, opensAt: null, closesAt: null, ack: 'redis', returnable: true });
  const outcomes = await Promise.all(users.map((user) => claims.claim(couponId, user)));
  await outboxEmpty();
  return outcomes;
};
const stockKey = (couponId: string) => couponKeys(shardOf(couponId, installation.settings.shardCount), couponId).stock;
const violated = async () => (await coupons.audit()).invariants.filter((i) => i.violations > 0).map(({ name }) => name);
const gauge = async (name: string) => {
  const found = (await metrics.snapshot()).find((metric) => metric.name === name);
  return Object.fromEntries(found?.values.map(({ labels, value }) => [labels['invariant'] ?? '', value]) ?? []);
};

it('lowers stock that is more than what is left, to exactly that', async () => {
  await create('surplus', 5, ['ann', 'bob']);
  await installation.redis.incrby(stockKey('surplus'), 3);
  expect(await coupons.reconcile()).toMatchObject({
    report: { ok: false },
    repairs: [{ kind: 'stock_lowered', couponId: 'surplus', what: 'remaining stock lowered by 3 to 3' }],
  });
  expect(await installation.redis.get(stockKey('surplus'))).toBe('3');
  expect(await violated()).toEqual([]);
});

it('never raises stock: that is told, and left to a person', async () => {
  await create('deficit', 5, ['ann']);
  await installation.redis.decrby(stockKey('deficit'), 2);
  expect(await coupons.reconcile()).toMatchObject({ report: { ok: false }, repairs: [] });
  expect(await installation.redis.get(stockKey('deficit'))).toBe('2');
  expect(await gauge('stampede_invariant_violations')).toMatchObject({ I1: 0, I5: 1 });
  await installation.redis.incrby(stockKey('deficit'), 2);
  await coupons.reconcile();
  expect(await gauge('stampede_invariant_violations')).toEqual({ I1: 0, I2: 0, I3: 0, I4: 0, I5: 0, I6: 0 });
});

it('puts rows that MySQL has lost into the outbox again, with their returns, and no others', async () => {
  const outcomes = await create('gaps', 9, ['ann', 'bob', 'cid', 'dan']);
  const returned = await claims.returnClaim('gaps', 'bob');
  const marked = await claims.returnClaim('gaps', 'dan');
  await outboxEmpty();
  await installation.mysql.query("DELETE FROM coupon_claim_log WHERE coupon_id = 'gaps' AND claim_no IN (2, 3)");
  await installation.mysql.query(
    "UPDATE coupon_claim_log SET returned_at = NULL WHERE coupon_id = 'gaps' AND claim_no = 4",
  );
  const { repairs } = await coupons.reconcile();
  expect(repairs.map(({ kind, what }) => `${kind}: ${what}`).sort()).toEqual([
    'return_requeued: return of number 2 put into the outbox again',
    'return_requeued: return of number 4 put into the outbox again',
    'row_requeued: number 2 put into the outbox again',
    'row_requeued: number 3 put into the outbox again',
  ]);
  await outboxEmpty();
  const rows = (await coupons.claims('gaps', { after: 0, limit: 10 })).claims;
  expect(rows.map(({ claimedAt }) => claimedAt)).toEqual(
    outcomes.map((outcome) => (outcome.status === 'refused' ? undefined : outcome.receipt.claimedAt)),
  );
  expect(rows.map(({ returnedAt }) => returnedAt)).toEqual([
    null,
    returned.status === 'returned' ? returned.receipt.returnedAt : undefined,
    null,
    marked.status === 'returned' ? marked.receipt.returnedAt : undefined,
  ]);
  expect((await coupons.reconcile()).repairs).toEqual([]);
  expect(await coupons.show('gaps')).toMatchObject({ live: { remaining: 7, claimed: 4, returned: 2 } });
  expect(await violated()).toEqual([]);
});

it('leaves alone what is on its way or put aside', async () => {
  await create('aside', 5, ['ann']);
  await installation.mysql.query(`CREATE TRIGGER refuse_eve BEFORE INSERT ON coupon_claim_log FOR EACH ROW
    IF NEW.user_id = 'eve' THEN SIGNAL SQLSTATE '45000'; END IF`);
  await claims.claim('aside', 'eve');
  await claims.claim('aside', 'bob');
  await outboxEmpty();
  await installation.mysql.query("DELETE FROM coupon_claim_log WHERE coupon_id = 'aside' AND claim_no = 1");
  expect((await coupons.reconcile()).repairs).toMatchObject([{ what: 'number 1 put into the outbox again' }]);
  await installation.mysql.query('DROP TRIGGER refuse_eve');
  const [letter] = (await coupons.deadLetters.list({ after: 0, limit: 10 })).letters;
  await coupons.deadLetters.retry(letter?.id ?? 0);
});

it('is done by a job, which rests after one that took long', async () => {
  const { mysql, redis, log, settings } = installation;
  const job = reconcileJob(
    { mysql, redis, scripts: loadScripts(), shards: new Shards(mysql, settings.shardCount) },
    log,
  );
  await mysql.query('DELETE FROM reconciliation');
  await job.run();
  const finished = await gauge('stampede_reconciliation_timestamp_seconds');
  expect(finished['']).toBeGreaterThan(1_700_000_000);
  const tookLong = JSON.stringify({ report: { durationMs: 3_600_000, invariants: [] }, repairs: [] });
  await mysql.query('REPLACE INTO reconciliation VALUES (1, UTC_TIMESTAMP(3), ?)', [Buffer.from(tookLong)]);
  await job.run();
  expect(await gauge('stampede_invariant_violations')).toEqual({});
});
