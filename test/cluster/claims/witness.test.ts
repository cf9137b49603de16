// The memory of what was told and may not be committed: when it forgets, and what it promises.
import { beforeEach, expect, it } from 'vitest';
import { Witness } from '../../../cluster/claims/witness.js';
import type { WitnessedClaim } from '../../../cluster/claims/witness.js';
import '../../harness/no-leaks.js';

const SHARD = 3;
let witness: Witness;

beforeEach(() => {
  witness = new Witness();
  witness.serve(SHARD, 7);
});

function claim(claimNo: number): WitnessedClaim {
  return { couponId: 'sale', claimNo, userId: `user-${claimNo}`, at: 1_700_000_000_000, returnedAt: undefined };
}
const reported = () => witness.owed.map(({ epoch, claims }) => [epoch, claims.map(({ claimNo }) => claimNo)]);

it('holds a claim until everything up to the newest id of its reply is committed', () => {
  witness.remember(SHARD, 7, ['5-0', '9-0'], [claim(1)]);
  witness.confirm(SHARD, 7, '9-0');
  expect(witness.size).toBe(1);
  witness.confirm(SHARD, 7, '9-1');
  expect(witness.size).toBe(0);
});

it('compares ids by their numbers, not as texts', () => {
  witness.remember(SHARD, 7, ['9-0', '10-2'], [claim(1)]);
  witness.confirm(SHARD, 7, '9-9');
  expect(witness.size).toBe(1);
  witness.confirm(SHARD, 7, '10-10');
  expect(witness.size).toBe(0);
});

it('forgets nothing by a reply that was given earlier and comes later', () => {
  witness.remember(SHARD, 7, ['5-0', '9-0'], [claim(1)]);
  // Given when the outbox was empty, before the claim: all it knows is that what came before 5-0 is committed.
  witness.remember(SHARD, 7, ['5-0', ''], []);
  expect(witness.size).toBe(1);
});

it('holds nothing of what an empty outbox shows as committed', () => {
  witness.remember(SHARD, 7, ['9-1', ''], [claim(1)]);
  expect(witness.size).toBe(0);
});

it('lets nothing be told that a reply does not place in the outbox', () => {
  expect(witness.remember(SHARD, 7, undefined, [])).toBe(true);
  expect(witness.remember(SHARD, 7, undefined, [claim(1)])).toBe(false);
});

it('reports what it holds when an epoch is over, and lets nothing of that epoch be told any more', () => {
  witness.remember(SHARD, 7, ['5-0', '8-0'], [claim(1)]);
  witness.remember(SHARD, 7, ['5-0', '9-0'], [claim(2), claim(3)]);
  witness.promise(SHARD);
  expect(witness.remember(SHARD, 7, ['5-0', '9-0'], [claim(4)])).toBe(false);
  expect(reported()).toEqual([[7, [1, 2, 3]]]);
  expect(witness.epochOf(SHARD)).toBeUndefined();
  witness.serve(SHARD, 8);
  expect(witness.remember(SHARD, 7, ['5-0', '9-0'], [claim(4)])).toBe(false);
  expect(witness.remember(SHARD, 8, ['5-0', '9-0'], [claim(5)])).toBe(true);
  expect(witness.size).toBe(4);
  witness.delivered(witness.owed);
  expect([witness.size, reported()]).toEqual([1, []]);
});

it('does not confirm an epoch by what another one says', () => {
  witness.remember(SHARD, 7, ['5-0', '9-0'], [claim(1)]);
  witness.confirm(SHARD, 6, '99-0');
  expect(witness.size).toBe(1);
});

it('owes a report, of nothing, for an epoch that it may be registered for and never served', () => {
  witness.owe(5, 2);
  expect(reported()).toEqual([[2, []]]);
});

it('is full when MySQL is too far behind, and has room again', () => {
  const many = Array.from({ length: 500_000 }, (_, i) => claim(i + 1));
  for (let i = 0; i < many.length; i += 1_000)
    witness.remember(SHARD, 7, ['5-0', `${i + 10}-0`], many.slice(i, i + 1_000));
  expect(witness.full).toBe(true);
  witness.confirm(SHARD, 7, '1000-0');
  expect(witness.full).toBe(false);
});
