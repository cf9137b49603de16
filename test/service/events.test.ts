// Events: what a receiver is told, how it knows the sender, and that nothing is lost on the way. Real ledger, Redis and
// MariaDB, and a receiver that listens on loopback.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { beforeAll, expect, it } from 'vitest';
import type { CouponsService } from '../../coupons/coupons.js';
import { couponKeys, shardOf } from '../../coupons/keys.js';
import { ConfigurationError } from '../../platform/errors.js';
import type { RowDataPacket } from '../../platform/mysql.js';
import { readSettings } from '../../platform/settings.js';
import type { AwaitedClaims } from '../harness/awaited-claims.js';
import { atEndOfFile } from '../harness/cleanup.js';
import type { Installation } from '../harness/installation.js';
import { createInstallation } from '../harness/installation.js';
import { waitFor } from '../harness/wait-for.js';

const SECRET = 'secret-of-the-events';

interface Received {
  readonly eventId: string;
  readonly kind: string;
  readonly couponId?: string;
  readonly invariant?: string;
  readonly version: number;
  readonly occurredAt: string;
}

let installation: Installation;
let claims: AwaitedClaims;
let coupons: CouponsService;
let answer = 204;
/** Every request, also those that were answered with an error. */
const requests: Received[] = [];
const taken = new Map<string, Received>();

/** As docs/jobs.md shows it to receivers. */
function isGenuine(secret: string, headers: Record<string, unknown>, body: string): boolean {
  const timestamp = String(headers['stampede-timestamp']);
  const expected = Buffer.from(`v1=${createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex')}`);
  const given = Buffer.from(String(headers['stampede-signature']));
  const recent = Math.abs(Date.now() / 1000 - Number(timestamp)) < 300;
  return recent && given.length === expected.length && timingSafeEqual(given, expected);
}

beforeAll(async () => {
  const receiver = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const event = JSON.parse(body) as Received;
      requests.push(event);
      const genuine = isGenuine(SECRET, request.headers, body) && !isGenuine('another', request.headers, body);
      const right = genuine && request.headers['stampede-event-id'] === event.eventId;
      if (right && answer === 204) taken.set(event.eventId, event);
      response.writeHead(right ? answer : 401).end();
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  atEndOfFile(
    () =>
      new Promise<void>((resolve) => {
        receiver.close(() => resolve());
        receiver.closeAllConnections();
      }),
  );
  const { port } = receiver.address() as AddressInfo;
  installation = await createInstallation({
    EVENTS_URL: `http://127.0.0.1:${port}/stampede?from=test`,
    EVENTS_SECRET: SECRET,
  });
  await installation.startLedger();
  claims = await installation.startClaims();
  coupons = await installation.startCoupons();
});

const create = (couponId: string, total: number, window: { opensAt?: number; closesAt?: number } = {}) =>
  coupons.create({ couponId, total, opensAt: null, closesAt: null, ...window, ack: 'redis', returnable: true });
const anyRow = async (sql: string) => (await installation.mysql.query<RowDataPacket[]>(sql))[0].length > 0;
const told = (eventId: string) => waitFor(() => taken.get(eventId), { what: `the event ${eventId}` });
const kindsOf = (couponId: string) =>
  [...taken.values()].filter((e) => e.couponId === couponId).map(({ kind }) => kind);

it('tell that a coupon opened, sold out and closed, each once, with the version', async () => {
  await create('plain', 1, { closesAt: Date.now() + 3_600_000 });
  expect(await told('plain.opened.1')).toMatchObject({ couponId: 'plain', total: 1, remaining: 1, version: 1 });
  await claims.claim('plain', 'ann');
  expect(await told('plain.sold_out.1')).toMatchObject({ remaining: 0 });
  // Back in stock and sold out again, within one version: the same event.
  await claims.returnClaim('plain', 'ann');
  await waitFor(async () => (await claims.claim('plain', 'bob')).status === 'claimed', { what: 'the unit' });
  await coupons.adjust('plain', { delta: 1, reason: 'more', idempotencyKey: 'more', by: 'test' });
  await claims.claim('plain', 'cid');
  await told('plain.sold_out.2');
  await coupons.setWindow('plain', { closesAt: Date.now() - 1_000 });
  expect(await told('plain.closed.3')).toMatchObject({
    total: 2,
    remaining: 0,
    closesAt: expect.any(String) as string,
  });
  await coupons.setWindow('plain', { closesAt: null });
  await told('plain.sold_out.4');
  expect(kindsOf('plain')).toEqual(['opened', 'sold_out', 'sold_out', 'closed', 'opened', 'sold_out']);
});

it('do not tell of what has not happened, or long ago', async () => {
  await create('later', 5, { opensAt: Date.now() + 3_600_000 });
  await create('paused', 5);
  await create('old', 5, { closesAt: Date.now() - 48 * 3_600_000 });
  await create('after', 5);
  await told('after.opened.1');
  await told('paused.opened.1');
  expect([kindsOf('later'), kindsOf('old')]).toEqual([[], []]);
});

it('are sent again until the receiver takes them, also when Redis has forgotten the jobs', async () => {
  answer = 500;
  await create('stubborn', 5);
  const attempts = (): number => requests.filter(({ eventId }) => eventId === 'stubborn.opened.1').length;
  await waitFor(() => attempts() >= 2, { what: 'a second attempt' });
  await installation.redis.flushall();
  const before = attempts();
  await waitFor(() => attempts() > before, { what: 'an attempt after Redis was flushed' });
  answer = 204;
  await told('stubborn.opened.1');
  await waitFor(async () => !(await anyRow('SELECT 1 FROM event WHERE delivered_at IS NULL')), {
    what: 'every event to be marked as delivered',
  });
});

it('tell that an invariant is broken, once for each time', async () => {
  const broken = () => [...taken.values()].filter(({ invariant }) => invariant === 'I5').length;
  const stock = couponKeys(shardOf('stubborn', installation.settings.shardCount), 'stubborn').stock;
  await waitFor(async () => (await coupons.show('stubborn')).live !== null, { what: 'the shard' });
  for (const times of [1, 2]) {
    await installation.redis.decr(stock);
    await coupons.reconcile();
    await waitFor(() => broken() === times, { what: 'the event' });
    await coupons.reconcile();
    await installation.redis.incr(stock);
    await coupons.reconcile();
    await waitFor(async () => !(await anyRow("SELECT 1 FROM event_told WHERE subject = 'invariant:I5'")), {
      what: 'the invariant to hold again',
    });
  }
  expect(broken()).toBe(2);
});

it('need a secret', () => {
  expect(() => readSettings({ EVENTS_URL: 'https://example.org/' })).toThrow(ConfigurationError);
  expect(() => readSettings({ EVENTS_URL: 'ftp://example.org/', EVENTS_SECRET: SECRET })).toThrow('EVENTS_URL');
});
