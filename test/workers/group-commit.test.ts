// When batches are written together and when each alone, with a writer that the test answers by hand, in virtual time.
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { RawEntry } from '../../coupons/outbox.js';
import { GroupCommit } from '../../workers/ledger/group-commit.js';
import type { OutboxResult, OutboxTask } from '../../workers/ledger/write-outbox.js';
import '../harness/no-leaks.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** The longest time that a batch waits for company. */
const PACE_MS = 10;
/** What an answer sets going looks again one turn later. */
const turn = async () => {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
};
const nextPace = async () => {
  vi.advanceTimersByTime(PACE_MS);
  await turn();
};
const RESULT = {
  status: 'written',
  ids: [],
  coupons: new Map(),
  foreign: [],
  claims: 0,
  refused: [],
  early: [],
} as const;
const resultOf = ({ shard }: OutboxTask): OutboxResult => ({ ...RESULT, claims: shard });

/** By default more than a group has after which the next one need not wait. */
function taskOf(shard: number, claims = 10): OutboxTask {
  const users = Array.from({ length: claims }, (_, i) => `u${i}`).join('\n');
  const fields = [
    'kind',
    'grants',
    'at',
    '1',
    'epoch',
    '1',
    'coupon',
    'sale',
    'numbers',
    `1-${claims}`,
    'users',
    users,
  ];
  const entry: RawEntry = ['1-0', fields];
  return { shard, epoch: 1, entries: [entry], ledgerWindow: 1 };
}

/** The last of its entries is not what a claim leaves behind. */
function unusualTaskOf(shard: number): OutboxTask {
  const task = taskOf(shard);
  const [, fields] = task.entries[0] as RawEntry;
  const unusual = [
    ['kind', 'return', 'coupon', 'sale', 'no', '1', 'user', 'u1', 'at', '1', 'epoch', '1'],
    [...(fields ?? []), 'letter', '7'],
    (fields ?? []).with(5, '2'),
  ];
  return { ...task, entries: [...task.entries, ['2-0', unusual[shard % unusual.length] ?? null]] };
}

function byHand(groupsMax = 2, rowsAwaited = false) {
  type Answer = (results: readonly OutboxResult[] | undefined | Error) => void;
  const calls: { shards: readonly number[]; answer: Answer }[] = [];
  const call = (tasks: readonly OutboxTask[]) =>
    new Promise<readonly OutboxResult[] | undefined>((resolve, reject) => {
      const answer: Answer = (results) => (results instanceof Error ? reject(results) : resolve(results));
      calls.push({ shards: tasks.map(({ shard }) => shard), answer });
    });
  const alone = async (task: OutboxTask) => {
    const [result] = (await call([task])) ?? [];
    if (result === undefined) throw new Error('nothing was answered');
    return result;
  };
  const commit = new GroupCommit({ together: call, alone }, { groupsMax, rowsAwaited });
  const write = (...shards: number[]) => shards.map((shard) => commit.write(taskOf(shard)));
  return { commit, calls, write };
}
const shardsOf = (calls: readonly { shards: readonly number[] }[]) => calls.map(({ shards }) => shards);

it('writes at once what comes in one turn after a pause, all of it together, and answers each its own', async () => {
  const { calls, write } = byHand();
  const results = write(3, 1, 2);
  await turn();
  expect(shardsOf(calls)).toEqual([[3, 1, 2]]);
  calls[0]?.answer([3, 1, 2].map((shard) => resultOf(taskOf(shard))));
  expect((await Promise.all(results)).map((result) => 'claims' in result && result.claims)).toEqual([3, 1, 2]);
});

it('lets what comes on the heels of a group wait for company, and no longer, also while that group takes its time', async () => {
  const { commit, calls, write } = byHand();
  const first = write(1);
  await turn();
  const others = write(2);
  await turn();
  vi.advanceTimersByTime(PACE_MS / 2);
  others.push(...write(3));
  await turn();
  expect(shardsOf(calls)).toEqual([[1]]);
  expect(commit.waiting).toBe(2);
  vi.advanceTimersByTime(PACE_MS / 2 + 1);
  await turn();
  expect(shardsOf(calls)).toEqual([[1], [2, 3]]);
  calls[1]?.answer([2, 3].map((shard) => resultOf(taskOf(shard))));
  calls[0]?.answer([resultOf(taskOf(1))]);
  expect(await Promise.all([...first, ...others])).toHaveLength(3);
});

it('does not let a batch wait for company after a group so small that there is none to be had', async () => {
  const { commit, calls } = byHand();
  const results = [commit.write(taskOf(1, 8))];
  await turn();
  results.push(commit.write(taskOf(2, 9)));
  await turn();
  expect(shardsOf(calls)).toEqual([[1], [2]]);
  for (const shard of [1, 2]) calls[shard - 1]?.answer([resultOf(taskOf(shard))]);
  results.push(commit.write(taskOf(3)));
  await turn();
  expect(shardsOf(calls)).toEqual([[1], [2]]);
  vi.advanceTimersByTime(PACE_MS);
  await turn();
  calls[2]?.answer([resultOf(taskOf(3))]);
  expect(await Promise.all(results)).toHaveLength(3);
});

it('does not let a transaction wait that is worth its price, makes none larger than that, and no more of them than there are threads', async () => {
  const { commit, calls } = byHand(2);
  const results = [1, 2, 3, 4, 5].map((shard) => commit.write(taskOf(shard, 900)));
  await turn();
  expect(shardsOf(calls)).toEqual([
    [1, 2],
    [3, 4],
  ]);
  calls[1]?.answer([3, 4].map((shard) => resultOf(taskOf(shard))));
  await turn();
  expect(shardsOf(calls)).toEqual([[1, 2], [3, 4], [5]]);
  calls[0]?.answer([1, 2].map((shard) => resultOf(taskOf(shard))));
  calls[2]?.answer([resultOf(taskOf(5))]);
  expect(await Promise.all(results)).toHaveLength(5);
});

it.each([true, false])(
  'lets one shard alone wait for more of its own unless its rows are waited for (%s)',
  async (awaited) => {
    const { calls, write } = byHand(2, awaited);
    const first = write(1);
    await turn();
    calls[0]?.answer([resultOf(taskOf(1))]);
    await Promise.all(first);
    const second = write(1);
    await turn();
    expect(shardsOf(calls)).toEqual(awaited ? [[1], [1]] : [[1]]);
    vi.advanceTimersByTime(PACE_MS);
    await turn();
    expect(shardsOf(calls)).toEqual([[1], [1]]);
    calls[1]?.answer([resultOf(taskOf(1))]);
    await Promise.all(second);
  },
);

it('lets shards wait for each other also where their rows are waited for, from when there are two', async () => {
  const { calls, write } = byHand(2, true);
  const [one] = write(1);
  await turn();
  const [two] = write(2);
  await turn();
  // On the heels of another shard: there is company to be had.
  expect(shardsOf(calls)).toEqual([[1]]);
  calls[0]?.answer([resultOf(taskOf(1))]);
  await one;
  const again = write(1);
  await turn();
  expect(shardsOf(calls)).toEqual([[1]]);
  await nextPace();
  expect(shardsOf(calls)).toEqual([[1], [2, 1]]);
  calls[1]?.answer([2, 1].map((shard) => resultOf(taskOf(shard))));
  await Promise.all([two, ...again]);
  const both = [...write(2)];
  await turn();
  both.push(...write(1));
  await turn();
  expect(calls).toHaveLength(2);
  await nextPace();
  expect(shardsOf(calls)).toEqual([[1], [2, 1], [2, 1]]);
  calls[2]?.answer([2, 1].map((shard) => resultOf(taskOf(shard))));
  await Promise.all(both);
});

it('keeps a batch with anything unusual out of the group, and makes neither wait for the other', async () => {
  const { commit, calls, write } = byHand(5);
  const before = write(0);
  await turn();
  // On the heels of another, so that they wait, and in the middle of the group.
  const results = [commit.write(taskOf(1)), ...[2, 3, 4].map((shard) => commit.write(unusualTaskOf(shard)))];
  results.push(...write(5));
  await turn();
  expect(shardsOf(calls)).toEqual([[0]]);
  calls[0]?.answer([resultOf(taskOf(0))]);
  vi.advanceTimersByTime(PACE_MS);
  await turn();
  expect(shardsOf(calls.slice(1))).toEqual([[1, 5], [2], [3], [4]]);
  calls[1]?.answer([1, 5].map((shard) => resultOf(taskOf(shard))));
  for (const shard of [2, 3, 4]) calls[shard]?.answer([resultOf(taskOf(shard))]);
  const claims = (await Promise.all([...before, ...results])).map((result) => 'claims' in result && result.claims);
  expect(claims).toEqual([0, 1, 2, 3, 4, 5]);
});

it('gives a group and unusual batches their turns when all of them are more than there are threads', async () => {
  const { commit, calls } = byHand(1);
  const results = [commit.write(unusualTaskOf(1)), ...[2, 3].map((shard) => commit.write(taskOf(shard)))];
  await turn();
  expect(shardsOf(calls)).toEqual([[1]]);
  results.push(commit.write(unusualTaskOf(4)));
  calls[0]?.answer([resultOf(taskOf(1))]);
  await turn();
  results.push(commit.write(unusualTaskOf(1)));
  expect(shardsOf(calls)).toEqual([[1], [2, 3]]);
  calls[1]?.answer([2, 3].map((shard) => resultOf(taskOf(shard))));
  vi.advanceTimersByTime(PACE_MS);
  await turn();
  expect(shardsOf(calls)).toEqual([[1], [2, 3], [4]]);
  calls[2]?.answer([resultOf(taskOf(4))]);
  await turn();
  expect(shardsOf(calls)).toEqual([[1], [2, 3], [4], [1]]);
  calls[3]?.answer([resultOf(taskOf(1))]);
  expect(await Promise.all(results)).toHaveLength(5);
});

it('writes each alone when they cannot be written together, and keeps the one that fails away from the others until it succeeds', async () => {
  const { calls, write } = byHand();
  const [one, two] = write(1, 2);
  await turn();
  calls[0]?.answer(undefined);
  await turn();
  expect(shardsOf(calls)).toEqual([[1, 2], [1], [2]]);
  calls[1]?.answer(new Error('a lock is held'));
  calls[2]?.answer([resultOf(taskOf(2))]);
  await expect(one).rejects.toThrow('a lock is held');
  expect(await two).toEqual(resultOf(taskOf(2)));

  const again = write(2, 1, 3);
  await nextPace();
  expect(shardsOf(calls.slice(3))).toEqual([[2, 3], [1]]);
  calls[4]?.answer([resultOf(taskOf(1))]);
  calls[3]?.answer([2, 3].map((shard) => resultOf(taskOf(shard))));
  await Promise.all(again);
  const healed = write(1, 2);
  await nextPace();
  expect(shardsOf(calls.slice(5))).toEqual([[1, 2]]);
  calls[5]?.answer([1, 2].map((shard) => resultOf(taskOf(shard))));
  await Promise.all(healed);
});

it('tells all of a group when it fails, and goes on', async () => {
  const { calls, write } = byHand();
  const failing = write(1, 2);
  await turn();
  calls[0]?.answer(new Error('connection lost'));
  for (const result of await Promise.allSettled(failing)) expect(result.status).toBe('rejected');
  const retried = write(1, 2);
  // Whatever was the matter with one of them does not meet the other again.
  for (const shard of [1, 2]) {
    vi.advanceTimersByTime(PACE_MS);
    await turn();
    expect(shardsOf(calls.slice(1))).toEqual([[1], [2]].slice(0, shard));
    calls[shard]?.answer([resultOf(taskOf(shard))]);
  }
  expect(await Promise.all(retried)).toHaveLength(2);
});

it('keeps one thread for the others while those that failed are tried again', async () => {
  const { calls, write } = byHand();
  const failing = write(1, 2);
  await turn();
  calls[0]?.answer(new Error('connection lost'));
  await Promise.allSettled(failing);
  const [one, two] = write(1, 2);
  await nextPace();
  expect(shardsOf(calls.slice(1))).toEqual([[1]]);
  // What cannot begin is not looked at again and again.
  expect(vi.getTimerCount()).toBe(0);
  const others = write(3);
  await nextPace();
  expect(shardsOf(calls.slice(1))).toEqual([[1], [3]]);
  calls[2]?.answer([resultOf(taskOf(3))]);
  others.push(...write(4, 5));
  await nextPace();
  expect(shardsOf(calls.slice(1))).toEqual([[1], [3], [4, 5]]);
  calls[1]?.answer(new Error('a lock is held'));
  await expect(one).rejects.toThrow('a lock is held');
  await nextPace();
  expect(shardsOf(calls.slice(1))).toEqual([[1], [3], [4, 5], [2]]);
  calls[4]?.answer([resultOf(taskOf(2))]);
  calls[3]?.answer([4, 5].map((shard) => resultOf(taskOf(shard))));
  expect(await Promise.all([two, ...others])).toHaveLength(4);
});

it('tries a shard that failed, and the others, in turns with one thread', async () => {
  const { calls, write } = byHand(1);
  const failing = write(1, 2);
  await turn();
  calls[0]?.answer(new Error('connection lost'));
  await Promise.allSettled(failing);
  const results = [...write(3), ...write(1), ...write(4)];
  await nextPace();
  calls[1]?.answer([3, 4].map((shard) => resultOf(taskOf(shard))));
  await nextPace();
  results.push(...write(5), ...write(2), ...write(6));
  calls[2]?.answer([resultOf(taskOf(1))]);
  for (const shards of [[5, 6], [2]]) {
    await nextPace();
    calls.at(-1)?.answer(shards.map((shard) => resultOf(taskOf(shard))));
  }
  expect(shardsOf(calls.slice(1))).toEqual([[3, 4], [1], [5, 6], [2]]);
  expect(await Promise.all(results)).toHaveLength(6);
});
