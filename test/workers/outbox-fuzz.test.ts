// Rubbish in the outbox: nothing that anybody can write into a stream stops the parser, the ledger, or the claims beside it.
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { isCouponId, isUserId } from '../../coupons/ids.js';
import { outboxKey } from '../../coupons/keys.js';
import { fieldsOf, parseEntry, sizeOf } from '../../coupons/outbox.js';
import { createInstallation } from '../harness/installation.js';
import { users } from '../harness/crowd.js';
import { waitFor } from '../harness/wait-for.js';

const SEED = 20_261_127;
const SHARDS = 4;

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 80 }),
  fc.constantFrom(
    '',
    '0',
    '-1',
    '1',
    '1e3',
    ' 7 ',
    '0x10',
    'NaN',
    '9007199254740993',
    '1.5',
    '1795770000000',
    'sale',
    'grant',
    'grants',
    'return',
    'change',
    'null',
    '7-8',
    'eve\nmallory',
    '\ud800',
  ),
);
const name = fc.oneof(
  fc.constantFrom(
    'kind',
    'coupon',
    'no',
    'user',
    'numbers',
    'users',
    'at',
    'epoch',
    'version',
    'outcome',
    'letter',
    '__proto__',
    'constructor',
  ),
  text,
);
const rubbish = fc.array(fc.tuple(name, text), { maxLength: 10 }).map((pairs) => pairs.flat());
/** Nearly right: one field of a good entry is another. */
const nearly = fc.tuple(fc.constantFrom('grant', 'return', 'change'), name, text).map(([kind, changed, value]) => {
  const good = {
    kind,
    coupon: 'sale',
    no: '999999',
    user: 'eve',
    version: '1',
    outcome: '0',
    at: '1795770000000',
    epoch: '1',
  };
  return Object.entries({ ...good, [changed]: value }).flat();
});
/** The same of an entry of several claims: one name or value is another, or one is missing. */
const GRANTS = [
  ...['kind', 'grants', 'at', '1795770000000', 'epoch', '1', 'coupon', 'sale', 'numbers', '999990-999992'],
  ...['users', 'eve\nmallory\ntrudy', 'coupon', 'SALE', 'numbers', '999995-999995', 'users', 'eve'],
];
const nearlyGrants = fc
  .tuple(fc.nat(GRANTS.length - 1), fc.oneof(text, name), fc.boolean())
  .map(([at, value, missing]) => (missing ? GRANTS.toSpliced(at, 1) : GRANTS.with(at, value)));
const entry = fc.oneof(rubbish, nearly, nearlyGrants);

it('an entry is poison, or every part of it is what it should be', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        entry,
        fc.constant(null),
        entry.map((flat) => flat.slice(1)),
      ),
      (flat) => {
        const contents = parseEntry(['1-0', flat]);
        expect(contents.length).toBeGreaterThan(0);
        expect(sizeOf(['1-0', flat])).toBeGreaterThanOrEqual(contents.length);
        if (contents.every(({ kind, letter }) => kind !== 'poison' && letter === undefined))
          expect(sizeOf(['1-0', flat])).toBe(contents.length);
        for (const parsed of contents) {
          const letter = parsed.letter === undefined ? [] : ['letter', String(parsed.letter)];
          if (parsed.kind === 'poison') {
            expect(parsed).toMatchObject({
              id: '1-0',
              reason: expect.any(String) as string,
              fields: expect.any(Array) as string[],
            });
            if (contents.length === 1) continue;
            // By itself it is the same.
            expect(parseEntry(['1-0', [...parsed.fields, ...letter]])).toEqual([parsed]);
            continue;
          }
          expect(isCouponId(parsed.couponId)).toBe(true);
          for (const number of [parsed.at, parsed.epoch, parsed.kind === 'change' ? parsed.version : parsed.claimNo]) {
            expect(Number.isSafeInteger(number) && number > 0).toBe(true);
          }
          expect(Number.isNaN(new Date(parsed.at).getTime())).toBe(false);
          if (parsed.kind !== 'change') expect(isUserId(parsed.userId)).toBe(true);
          expect(parseEntry(['1-0', [...fieldsOf(parsed), ...letter]])).toEqual([parsed]);
        }
      },
    ),
    { seed: SEED, numRuns: 5_000 },
  );
});

it('the ledger puts rubbish aside, and every claim beside it gets its row', async () => {
  const installation = await createInstallation({ SHARD_COUNT: String(SHARDS) });
  await installation.startLedger();
  const claims = await installation.startClaims();
  const coupons = await installation.startCoupons();
  await coupons.create({
    couponId: 'sale',
    total: 10_000,
    opensAt: null,
    closesAt: null,
    ack: 'redis',
    returnable: true,
  });
  // None that is a claim as well as any: MySQL takes the number for whoever comes first.
  const isClaim = (flat: string[]) =>
    parseEntry(['0-1', flat]).some((part) => part.kind === 'grant' && part.couponId === 'sale' && part.claimNo <= 401);
  const entries = fc.sample(entry, { seed: SEED, numRuns: 400 }).filter((flat) => !isClaim(flat));
  const crowd = users(entries.length);
  for (const [i, flat] of entries.entries()) {
    // A stream takes names and values in pairs, and no entry without any.
    const fields = flat.length < 2 ? ['empty', ''] : flat.slice(0, flat.length - (flat.length % 2));
    const [outcome] = await Promise.all([
      claims.claim('sale', crowd[i] ?? ''),
      installation.redis.xadd(outboxKey(i % SHARDS), '*', ...fields),
    ]);
    expect(outcome).toMatchObject({ status: 'claimed' });
  }
  await waitFor(
    async () => {
      const rows = new Set((await installation.claimRows('sale')).map(({ userId }) => userId));
      return crowd.every((userId) => rows.has(userId));
    },
    { what: 'the rows of all claims', timeoutMs: 40_000 },
  );
  expect(await claims.claim('sale', 'late')).toMatchObject({
    status: 'claimed',
    receipt: { claimNo: entries.length + 1 },
  });
  // A return may come before its claim, from another ledger: one that fits no row is put aside only after a minute or so.
  const returns = entries.flatMap((flat) => parseEntry(['0-1', flat])).filter(({ kind }) => kind === 'return').length;
  await waitFor(async () => (await installation.outboxEntries()) <= returns, {
    what: 'the outbox to hold no more than returns',
    timeoutMs: 40_000,
  });
  // Nobody's: the ledger of this test need not wait for them.
  for (let shard = 0; shard < SHARDS; shard++) await installation.redis.xtrim(outboxKey(shard), 'MAXLEN', 0);
});
