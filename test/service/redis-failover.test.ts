// A master and a replica behind one address, as with a proxy or a virtual IP: the replica is behind, is promoted by hand and
// takes the address over; later it goes back. Nobody hears of a number twice, and no promise is forgotten.
import { randomBytes } from 'node:crypto';
import { beforeAll, expect, it } from 'vitest';
import type { ClaimOutcome } from '../../cluster/claims/claim-service.js';
import type { CouponsService } from '../../coupons/coupons.js';
import type { Ack } from '../../coupons/definition.js';
import { FaultProxy } from '../../verify/fault-proxy.js';
import type { AwaitedClaims } from '../harness/awaited-claims.js';
import { atEndOfFile } from '../harness/cleanup.js';
import { users } from '../harness/crowd.js';
import type { Installation } from '../harness/installation.js';
import { createInstallation } from '../harness/installation.js';
import { follow, promote } from '../harness/replica.js';
import type { TestServer } from '../harness/servers.js';
import { startTestRedis } from '../harness/servers.js';
import { waitFor } from '../harness/wait-for.js';

const TOTAL = 100;

let a: TestServer;
let b: TestServer;
let address: FaultProxy;
let installation: Installation;
let ledger: Awaited<ReturnType<Installation['startLedger']>>;
let claims: AwaitedClaims;
let coupons: CouponsService;

beforeAll(async () => {
  const password = randomBytes(16).toString('hex');
  [a, b] = [await startTestRedis({ password }), await startTestRedis({ password })];
  await follow(b, a);
  address = await FaultProxy.start(portOf(a), Math.random);
  atEndOfFile(() => address.stop());
  const url = new URL(a.url);
  url.port = String(address.port);
  installation = await createInstallation({ REDIS_URL: url.href, SHARD_COUNT: '2', CLAIM_TIMEOUT_MS: '1000' });
  ledger = await installation.startLedger();
  claims = await installation.startClaims();
  coupons = await installation.startCoupons();
});

const portOf = ({ url }: TestServer) => Number(new URL(url).port);
const create = (couponId: string, ack: Ack) =>
  coupons.create({ couponId, total: TOTAL, opensAt: null, closesAt: null, ack, returnable: false });
const written = () =>
  waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'the outbox to be empty' });

/** What each user of one coupon was told first; every later answer has to be the same. */
class Told {
  readonly numbers = new Map<string, number>();
  readonly #couponId: string;

  constructor(couponId: string) {
    this.#couponId = couponId;
  }

  async ask(userId: string): Promise<ClaimOutcome> {
    const outcome = await claims.claim(this.#couponId, userId);
    if (outcome.status === 'refused') return outcome;
    const first = this.numbers.get(userId) ?? outcome.receipt.claimNo;
    expect([userId, outcome.receipt.claimNo]).toEqual([userId, first]);
    this.numbers.set(userId, first);
    return outcome;
  }

  /** Each asks until the answer is a receipt or `sold_out`. */
  async insist(userIds: readonly string[]): Promise<void> {
    await Promise.all(
      userIds.map((userId) =>
        waitFor(
          async () => {
            const outcome = await this.ask(userId);
            return outcome.status !== 'refused' || outcome.code === 'sold_out';
          },
          { what: `an answer to ${userId}` },
        ),
      ),
    );
  }

  async expectKept(): Promise<void> {
    await written();
    const rows = await installation.claimRows(this.#couponId);
    expect(new Map(rows.map(({ userId, claimNo }) => [userId, claimNo]))).toEqual(this.numbers);
    expect(this.numbers.size).toBe(TOTAL);
    expect(new Set(this.numbers.values()).size).toBe(TOTAL);
    expect((await coupons.audit()).invariants.filter(({ violations }) => violations > 0)).toEqual([]);
  }
}

it('a replica that is behind takes over, and the old master comes back as it was left', async () => {
  const everybody = users(TOTAL + 20);
  const all = (['redis', 'ledger'] as const).map((ack) => ({ ack, told: new Told(`behind-${ack}`) }));
  for (const { ack, told } of all) {
    await create(`behind-${ack}`, ack);
    await told.insist(everybody.slice(0, 30));
  }
  await promote(b);
  // What follows, the replica never sees; MySQL does.
  for (const { told } of all) await told.insist(everybody.slice(30, 60));
  await written();

  address.redirect(portOf(b));
  for (const { told } of all) await told.insist(everybody.slice(0, 80));
  await written();

  // Its fence says open, and names this very process: only the epoch tells that it is not the one any more.
  address.redirect(portOf(a));
  for (const { told } of all) await told.insist(everybody);
  for (const { told } of all) await told.expectKept();
});

it('what only the lost master had, was promised to nobody at level ledger, and its numbers go to others', async () => {
  await follow(b, a);
  const everybody = users(TOTAL + 20);
  const told = new Told('lost');
  await create('lost', 'ledger');
  await told.insist(everybody.slice(0, 30));
  await ledger.drain();
  await promote(b);
  const unlucky = await Promise.all(everybody.slice(30, 40).map((userId) => told.ask(userId)));
  expect(new Set(unlucky.map((outcome) => outcome.status === 'refused' && outcome.code))).toEqual(
    new Set(['outcome_unknown']),
  );
  expect(await installation.outboxEntries()).toBe(10);

  address.redirect(portOf(b));
  ledger = await installation.startLedger();
  await told.insist(everybody.slice(40));
  await told.insist(everybody);
  await told.expectKept();
});

it('goes there and back again, the one following the other', async () => {
  const everybody = users(TOTAL + 20);
  const told = new Told('there-and-back');
  await create('there-and-back', 'redis');
  await told.insist(everybody.slice(0, 30));
  await written();
  for (const [to, from] of [
    [a, b],
    [b, a],
    [a, b],
  ] as const) {
    await follow(to, from);
    await promote(to);
    address.redirect(portOf(to));
    await told.insist(everybody.slice(0, told.numbers.size + 20));
    await written();
  }
  await told.insist(everybody);
  await told.expectKept();
});
