// What the mailbox does when it is offered three times what the other side can take. In virtual time, so that the result is
// the mechanism's and not the machine's.
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { ClaimOutcome } from '../../../cluster/claims/claim-service.js';
import { Mailbox } from '../../../cluster/claims/mailbox.js';
import '../../harness/no-leaks.js';

const LIMITS = { depthMax: 8_192, batchMax: 10, callsMax: 2, fullCallsMax: 8, timeLimitMs: 2_000 };
const HEARS_AT_ONCE = { look: () => undefined, ms: 0 };
const GRANTED: ClaimOutcome = { status: 'claimed', receipt: { claimNo: 1, claimedAt: 1, ack: 'redis' } };

const capacityPerSecond = (callMs: number): number => (LIMITS.batchMax * LIMITS.callsMax * 1_000) / callMs;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Offers claims for `seconds` of virtual time to calls of `callMs`, and counts answers and what they waited. */
async function offer(perSecond: number, seconds: number, callMs: number, hearing = HEARS_AT_ONCE) {
  const mailbox = new Mailbox(LIMITS, hearing, async (batch) => {
    await new Promise((resolve) => setTimeout(resolve, callMs));
    for (const claim of batch) claim.answer(GRANTED);
  });
  const heard = new Map<string, { count: number; waitMaxMs: number }>();
  const ask = async (userId: string): Promise<void> => {
    const askedAt = performance.now();
    const outcome = await new Promise<ClaimOutcome>((answer) => mailbox.put('sale', userId, answer));
    const what = outcome.status === 'refused' ? outcome.code : outcome.status;
    const { count, waitMaxMs } = heard.get(what) ?? { count: 0, waitMaxMs: 0 };
    heard.set(what, { count: count + 1, waitMaxMs: Math.max(waitMaxMs, performance.now() - askedAt) });
  };
  const asked: Promise<void>[] = [];
  const stepMs = 5;
  for (let ms = 0, due = 0; ms < seconds * 1_000; ms += stepMs) {
    due += (perSecond * stepMs) / 1_000;
    for (; due >= 1; due--) asked.push(ask(`user-${asked.length}`));
    await vi.advanceTimersByTimeAsync(stepMs);
  }
  await vi.advanceTimersByTimeAsync(LIMITS.timeLimitMs);
  await Promise.all(asked);
  return heard;
}

it.each([100, 600, 1_000])(
  'offered three times what it can do, with calls of %i ms, serves what it can, in time, and refuses the rest at once',
  async (callMs) => {
    const seconds = 30;
    const capacity = capacityPerSecond(callMs);
    const heard = await offer(3 * capacity, seconds, callMs);
    // The first claims are accepted before anybody knows how long a call takes.
    const late = heard.get('outcome_unknown')?.count ?? 0;
    expect(late).toBeLessThanOrEqual(LIMITS.batchMax * LIMITS.callsMax);
    expect([...heard.keys()].filter((what) => what !== 'outcome_unknown').sort()).toEqual(['claimed', 'overloaded']);
    expect(heard.get('claimed')?.count).toBeGreaterThanOrEqual(0.9 * capacity * seconds);
    expect(heard.get('claimed')?.waitMaxMs).toBeLessThan(LIMITS.timeLimitMs);
    expect(heard.get('overloaded')?.waitMaxMs).toBe(0);
  },
);

it('offered what it can do, refuses nobody', async () => {
  const heard = await offer(capacityPerSecond(100), 10, 100);
  expect([...heard.keys()]).toEqual(['claimed']);
});

it('refuses nobody because this process is late to hear the replies', async () => {
  const callMs = 900;
  const heard = await offer(3 * capacityPerSecond(callMs), 10, callMs, { ...HEARS_AT_ONCE, ms: callMs - 10 });
  expect([...heard.keys()]).toEqual(['claimed']);
});

it('keeps the other side busy, and every time limit, while it is late to hear the replies', async () => {
  const [sideMs, lateMs, seconds] = [500, 250, 30];
  const heard = await offer(3 * capacityPerSecond(sideMs), seconds, sideMs + lateMs, { ...HEARS_AT_ONCE, ms: lateMs });
  expect([...heard.keys()].sort()).toEqual(['claimed', 'overloaded']);
  expect(heard.get('claimed')?.count).toBeGreaterThanOrEqual(0.9 * capacityPerSecond(sideMs) * seconds);
  expect(heard.get('claimed')?.waitMaxMs).toBeLessThan(LIMITS.timeLimitMs);
});
