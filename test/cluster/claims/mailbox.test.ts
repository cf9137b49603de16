// The mailbox alone: gathering, limits, expiry and closing, with a send that the test answers by hand.
import { describe, expect, it, vi } from 'vitest';
import type { ClaimOutcome } from '../../../cluster/claims/claim-service.js';
import type { MailboxLimits, PendingClaim } from '../../../cluster/claims/mailbox.js';
import { Mailbox } from '../../../cluster/claims/mailbox.js';
import '../../harness/no-leaks.js';

const LIMITS: MailboxLimits = { depthMax: 100, batchMax: 10, callsMax: 2, fullCallsMax: 2, timeLimitMs: 60_000 };
const HEARS_AT_ONCE = { look: () => undefined, ms: 0 };
const GRANTED: ClaimOutcome = { status: 'claimed', receipt: { claimNo: 1, claimedAt: 1, ack: 'redis' } };

/** A mailbox whose batches wait until the test answers them. */
function mailboxByHand(limits: Partial<MailboxLimits> = {}, hearing = HEARS_AT_ONCE) {
  const calls: { batch: readonly PendingClaim[]; answer: () => void; leave: () => void }[] = [];
  const mailbox = new Mailbox({ ...LIMITS, ...limits }, hearing, (batch) => {
    return new Promise((done) => {
      const answer = (): void => {
        for (const claim of batch) claim.answer(GRANTED);
        done();
      };
      calls.push({ batch, answer, leave: done });
    });
  });
  const putOne = (userId: string) =>
    new Promise<ClaimOutcome>((answer) => {
      mailbox.put('sale', userId, answer);
    });
  const put = (count: number) => Array.from({ length: count }, (_, i) => putOne(`user-${i}`));
  return { mailbox, calls, put, putOne };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));
const sizes = (calls: readonly { batch: readonly unknown[] }[]) => calls.map(({ batch }) => batch.length);

describe('a mailbox', () => {
  it('sends what came in one turn of the loop as one batch, at once', async () => {
    const { calls, put } = mailboxByHand();
    const outcomes = put(7);
    expect(calls).toHaveLength(0);
    await turn();
    expect(sizes(calls)).toEqual([7]);
    calls[0]?.answer();
    expect(await Promise.all(outcomes)).toEqual(Array(7).fill(GRANTED));
  });

  it('answers many users put together in their order, also when their batches come back in another', async () => {
    const { mailbox, calls } = mailboxByHand({ depthMax: 10 });
    const together = mailbox.putAll(
      'sale',
      Array.from({ length: 33 }, (_, i) => `user-${i}`),
    );
    await turn();
    expect(sizes(calls)).toEqual([10, 10]);
    calls[1]?.answer();
    calls[0]?.answer();
    await turn();
    expect(sizes(calls)).toEqual([10, 10, 10]);
    calls[2]?.answer();
    const overloaded = { status: 'refused', code: 'overloaded' };
    expect(await together).toEqual(Array.from({ length: 33 }, (_, i) => (i < 30 ? GRANTED : overloaded)));
    expect(await mailbox.putAll('sale', [])).toEqual([]);
  });

  it('never has more calls in flight than allowed, nor batches larger than allowed; a reply takes what has gathered', async () => {
    const { calls, put } = mailboxByHand();
    const outcomes = put(35);
    await turn();
    expect(sizes(calls)).toEqual([10, 10]);
    calls[0]?.answer();
    await turn();
    expect(sizes(calls)).toEqual([10, 10, 10]);
    calls[2]?.answer();
    calls[1]?.answer();
    await turn();
    expect(sizes(calls)).toEqual([10, 10, 10, 5]);
    calls[3]?.answer();
    expect(await Promise.all(outcomes)).toHaveLength(35);
  });

  it('sends full batches at once', async () => {
    const { calls, put } = mailboxByHand();
    const outcomes = put(25);
    expect(sizes(calls)).toEqual([10, 10]);
    for (let call = 0; call < 3; call++) {
      await turn();
      calls[call]?.answer();
    }
    expect(await Promise.all(outcomes)).toEqual(Array(25).fill(GRANTED));
  });

  it('has as many more full batches in flight as keep the other side busy until this process hears of the others', async () => {
    vi.useFakeTimers({ toFake: ['performance', 'setInterval', 'clearInterval'] });
    try {
      const hearing = { ...HEARS_AT_ONCE };
      const { calls, put } = mailboxByHand({ fullCallsMax: 4 }, hearing);
      const outcomes = [...put(2)];
      await turn();
      vi.advanceTimersByTime(100);
      calls[0]?.answer();
      await turn();
      // Calls take 100 ms by now.
      hearing.ms = 30;
      outcomes.push(...put(75));
      expect(sizes(calls.slice(1))).toEqual([10, 10, 10]);
      hearing.ms = 90;
      calls[1]?.answer();
      await turn();
      expect(sizes(calls.slice(2))).toEqual([10, 10, 10, 10]);
      hearing.ms = 0;
      for (const { answer } of calls.slice(2, 5)) answer();
      await turn();
      expect(sizes(calls.slice(5))).toEqual([10, 10]);
      for (let call = 5; call < 9; call++) {
        calls[call]?.answer();
        await turn();
      }
      expect(await Promise.all(outcomes)).toEqual(Array(77).fill(GRANTED));
    } finally {
      vi.useRealTimers();
    }
  });

  it('keeps the order of arrival', async () => {
    const { calls, put } = mailboxByHand({ callsMax: 1, fullCallsMax: 1 });
    const outcomes = put(25);
    for (let call = 1; call <= 3; call++) {
      await turn();
      calls.at(-1)?.answer();
    }
    await Promise.all(outcomes);
    const order = calls.flatMap(({ batch }) => batch.map(({ userId }) => userId));
    expect(order).toEqual(Array.from({ length: 25 }, (_, i) => `user-${i}`));
  });

  it('refuses as overloaded what is more than its depth', async () => {
    const { calls, put, putOne } = mailboxByHand({ depthMax: 3 });
    const outcomes = put(3);
    expect(await putOne('late')).toEqual({ status: 'refused', code: 'overloaded' });
    await turn();
    calls[0]?.answer();
    expect(await Promise.all(outcomes)).toEqual(Array(3).fill(GRANTED));
  });

  it('answers by its time limit: unavailable what was not sent, outcome_unknown what was; late replies change nothing', async () => {
    vi.useFakeTimers({ toFake: ['performance', 'setInterval', 'clearInterval'] });
    try {
      const { calls, put } = mailboxByHand({ callsMax: 1, fullCallsMax: 1, timeLimitMs: 1_000 });
      const outcomes = put(12);
      await turn();
      vi.advanceTimersByTime(1_100);
      const codes = (await Promise.all(outcomes)).map((outcome) => outcome.status === 'refused' && outcome.code);
      expect(codes).toEqual([...Array<string>(10).fill('outcome_unknown'), 'unavailable', 'unavailable']);
      calls[0]?.answer();
      await turn();
      // What was answered as not sent must not be sent.
      expect(sizes(calls)).toEqual([10]);
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it('closes: answers what waits, awaits what is in flight, takes nothing more', async () => {
    const { mailbox, calls, put, putOne } = mailboxByHand({ callsMax: 1, fullCallsMax: 1 });
    const outcomes = put(12);
    await turn();
    let closed = false;
    const closing = mailbox.close().then(() => {
      closed = true;
    });
    expect(await putOne('late')).toEqual({ status: 'refused', code: 'unavailable' });
    await turn();
    expect(closed).toBe(false);
    calls[0]?.answer();
    await closing;
    expect((await Promise.all(outcomes)).slice(9)).toEqual([
      GRANTED,
      { status: 'refused', code: 'unavailable' },
      { status: 'refused', code: 'unavailable' },
    ]);
  });
});
