// What the mailbox does when it is offered three times what the other side can take. In virtual time, so that the result is
// the mechanism's and not the machine's.
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { ClaimOutcome } from '../../../cluster/claims/claim-service.js';
import { Mailbox } from '../../../cluster/claims/mailbox.js';

const CALL_MS = 100;
const LIMITS = { depthMax: 8_192, batchMax: 10, callsMax: 2, timeLimitMs: 2_000 };
const CAPACITY_PER_S = (LIMITS.batchMax * LIMITS.callsMax * 1_000) / CALL_MS;
const GRANTED: ClaimOutcome = { status: 'claimed', receipt: { claimNo: 1, claimedAt: 1, ack: 'redis' } };

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Offers claims for `seconds` of virtual time, and counts answers and what they waited. */
async function offer(perSecond: number, seconds: number) {
  const mailbox = new Mailbox(LIMITS, async (batch) => {
    await new Promise((resolve) => setTimeout(resolve, CALL_MS));
    for (const claim of batch) claim.answer(GRANTED);
  });
  const heard = new Map<string, { count: number; waitMaxMs: number }>();
  const ask = async (userId: string): Promise<void> => {
    const askedAt = performance.now();
    const outcome = await mailbox.put('sale', userId);
    const what = outcome.status === 'refused' ? outcome.code : outcome.status;
    const { count, waitMaxMs } = heard.get(what) ?? { count: 0, waitMaxMs: 0 };
    heard.set(what, { count: count + 1, waitMaxMs: Math.max(waitMaxMs, performance.now() - askedAt) });
  };
  const asked: Promise<void>[] = [];
  const stepMs = 5;
  for (let ms = 0; ms < seconds * 1_000; ms += stepMs) {
    for (let i = 0; i < (perSecond * stepMs) / 1_000; i++) asked.push(ask(`user-${ms}-${i}`));
    await vi.advanceTimersByTimeAsync(stepMs);
  }
  await vi.advanceTimersByTimeAsync(LIMITS.timeLimitMs);
  await Promise.all(asked);
  return heard;
}

it('offered three times what it can do, serves what it can, in time, and refuses the rest at once', async () => {
  const seconds = 30;
  const heard = await offer(3 * CAPACITY_PER_S, seconds);
  expect([...heard.keys()].sort()).toEqual(['claimed', 'overloaded']);
  const { claimed, overloaded } = Object.fromEntries(heard);
  expect(claimed?.count).toBeGreaterThanOrEqual(0.9 * CAPACITY_PER_S * seconds);
  expect(claimed?.waitMaxMs).toBeLessThan(LIMITS.timeLimitMs);
  expect(overloaded?.waitMaxMs).toBe(0);
});

it('offered what it can do, refuses nobody', async () => {
  const heard = await offer(CAPACITY_PER_S, 10);
  expect([...heard.keys()]).toEqual(['claimed']);
});
