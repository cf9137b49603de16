// The mailbox of one shard in one process: it gathers claims and hands them over in batches. It knows nothing of Redis
// or HTTP; `send` does the call.
//
// State machine
//
//   idle      nothing waits, nothing is in flight.
//   gathering claims wait, a flush is scheduled for the end of this turn of the event loop: all requests that were read
//             from sockets in one turn go out together.
//   sending   1 to `callsMax` batches are in flight. Claims that arrive meanwhile wait; the reply that frees a call
//             takes with it all that has gathered, up to `batchMax`. So batches grow with the load by themselves, and
//             nobody waits for a timer to fill one. Up to `fullCallsMax` are in flight while this process is late to hear
//             replies: as many more as keep the other side busy meanwhile, all of them full. (A process that is busy with
//             requests hears replies only now and then; with `callsMax` alone it served no more than two batches each time.)
//
//   put      depth full, or so much waits that at the pace of the last calls the answer would take three quarters of the limit →
//            `overloaded` at once, rather than late. Else the claim waits, and idle → gathering.
//   flush    gathering → sending, while a call is free and claims wait.
//   reply    `send` has settled its claims → flush again; nothing left → idle.
//   expiry   a claim that is `timeLimitMs` old is answered: `unavailable` if it was never sent (surely not granted),
//            `outcome_unknown` if it was. The call it was sent with stays in flight until `send` ends, so a Redis that
//            does not answer is never sent more than `fullCallsMax` batches.
//   close    everything that waits is answered `unavailable`; batches in flight are awaited.
//
// A claim is answered exactly once: by its reply, by expiry, or by close, whichever comes first.
import type { Answer, ClaimOutcome } from './claim-service.js';
import type { HearingDelay } from './hearing-delay.js';

export interface MailboxLimits {
  /** Claims that may wait; more are refused. */
  readonly depthMax: number;
  /** Claims of one batch. */
  readonly batchMax: number;
  /** Batches in flight, of whatever size. */
  readonly callsMax: number;
  /** Batches in flight while replies are heard late; those above `callsMax` are full. */
  readonly fullCallsMax: number;
  /** Age in ms at which a claim is answered in any case. */
  readonly timeLimitMs: number;
}

/** One claim on its way: ids, and the answer that somebody waits for. */
export class PendingClaim {
  readonly couponId: string;
  readonly userId: string;
  /** By `performance.now()`, which does not jump with the wall clock. */
  readonly expiresAt: number;
  #answer: Answer | undefined;

  constructor(couponId: string, userId: string, expiresAt: number, answer: Answer) {
    this.couponId = couponId;
    this.userId = userId;
    this.expiresAt = expiresAt;
    this.#answer = answer;
  }

  /** The first call counts, later ones do nothing. */
  answer(outcome: ClaimOutcome): void {
    this.#answer?.(outcome);
    this.#answer = undefined;
  }
}

const OVERLOADED: ClaimOutcome = { status: 'refused', code: 'overloaded' };
const NOT_SENT: ClaimOutcome = { status: 'refused', code: 'unavailable' };
const UNKNOWN: ClaimOutcome = { status: 'refused', code: 'outcome_unknown' };

/** How precisely expiry is kept: one timer per busy mailbox looks this often. */
const EXPIRY_INTERVAL_MS = 50;

/** What the newest call counts in the pace: one slow call must not refuse anybody. */
const PACE_WEIGHT = 0.25;
/** Of its time limit that an answer may be expected to take; the rest is for calls that take longer than the last ones. */
const EXPECTED_PART_MAX = 0.75;
interface Call {
  readonly batch: readonly PendingClaim[];
  /** By `performance.now()`. */
  readonly sentAt: number;
}

export class Mailbox {
  readonly #limits: MailboxLimits;
  readonly #hearing: Pick<HearingDelay, 'look' | 'ms'>;
  readonly #send: (batch: readonly PendingClaim[]) => Promise<void>;
  #waiting: PendingClaim[] = [];
  /** Oldest first. */
  readonly #inFlight = new Map<Call, Promise<void>>();
  /** How long the last calls took, the newest counting most. */
  #callMs: number | undefined;
  #flushScheduled = false;
  #closed = false;
  #expiryTimer: NodeJS.Timeout | undefined;

  /** `send` answers every claim of its batch and never rejects. */
  constructor(
    limits: MailboxLimits,
    hearing: Pick<HearingDelay, 'look' | 'ms'>,
    send: (batch: readonly PendingClaim[]) => Promise<void>,
  ) {
    this.#limits = limits;
    this.#hearing = hearing;
    this.#send = send;
  }

  get depth(): number {
    return this.#waiting.length;
  }

  /** `answer` hears the outcome, once, at the latest when the claim is `timeLimitMs` old; it must not throw. */
  put(couponId: string, userId: string, answer: Answer): void {
    if (this.#closed) {
      answer(NOT_SENT);
      return;
    }
    const { depthMax, timeLimitMs } = this.#limits;
    const now = performance.now();
    if (this.#waiting.length >= depthMax || this.#expectedAnswerMs(now) > timeLimitMs * EXPECTED_PART_MAX) {
      answer(OVERLOADED);
      return;
    }
    this.#waiting.push(new PendingClaim(couponId, userId, now + timeLimitMs, answer));
    this.#expiryTimer ??= setInterval(() => this.#expire(), EXPIRY_INTERVAL_MS);
    // A turn of a busy loop may take seconds: a full batch does not wait for its end.
    if (this.#waiting.length >= this.#limits.batchMax) this.#flush();
    if (!this.#flushScheduled && this.#inFlight.size < this.#limits.callsMax) {
      this.#flushScheduled = true;
      setImmediate(() => {
        this.#flushScheduled = false;
        this.#flush();
      });
    }
  }

  /** The same for many users of one coupon, answered together and in their order. */
  putAll(couponId: string, userIds: readonly string[]): Promise<ClaimOutcome[]> {
    return new Promise((resolve) => {
      const outcomes = new Array<ClaimOutcome>(userIds.length);
      let missing = userIds.length;
      if (missing === 0) resolve(outcomes);
      userIds.forEach((userId, i) => {
        this.put(couponId, userId, (outcome) => {
          outcomes[i] = outcome;
          if (--missing === 0) resolve(outcomes);
        });
      });
    });
  }

  /** Answers what waits and resolves when nothing is in flight any more. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const claim of this.#waiting) claim.answer(NOT_SENT);
    this.#waiting = [];
    await Promise.all(this.#inFlight.values());
    this.#restIfIdle();
  }

  /**
   * Until a claim that is put now would be answered: what is left of the call whose end its batch has to wait for, a call for each
   * that goes before it then, and its own. 0 where it need not wait: somebody has to find out how long calls take.
   */
  #expectedAnswerMs(now: number): number {
    const calls = [...this.#inFlight.keys()];
    const paceMs = this.#paceMs(now);
    const batchesBefore = Math.floor(this.#waiting.length / this.#limits.batchMax);
    const turn = batchesBefore - Math.max(0, this.#callsMax(paceMs) - calls.length);
    const awaited = turn < 0 ? undefined : calls[turn % calls.length];
    if (awaited === undefined) return 0;
    return Math.max(0, paceMs - (now - awaited.sentAt)) + (Math.floor(turn / calls.length) + 1) * paceMs;
  }

  /** How long a call takes. One that is late already is part of the pace. */
  #paceMs(now: number): number {
    const [oldest] = this.#inFlight.keys();
    return Math.max(this.#callMs ?? 0, oldest === undefined ? 0 : now - oldest.sentAt);
  }

  /** Batches that may be in flight: as many as let the other side have `callsMax` at any time. */
  #callsMax(paceMs: number): number {
    const { callsMax, fullCallsMax } = this.#limits;
    const heardLateMs = Math.min(this.#hearing.ms, paceMs);
    if (heardLateMs === 0) return callsMax;
    return Math.min(fullCallsMax, Math.round(callsMax * (paceMs / (paceMs - heardLateMs))));
  }

  #mayCall(): boolean {
    const { batchMax, callsMax } = this.#limits;
    const waiting = this.#waiting.length;
    if (waiting === 0) return false;
    if (this.#inFlight.size < callsMax) return true;
    return waiting >= batchMax && this.#inFlight.size < this.#callsMax(this.#paceMs(performance.now()));
  }

  #flush(): void {
    while (this.#mayCall()) {
      const batch = this.#waiting.splice(0, this.#limits.batchMax);
      const call = { batch, sentAt: performance.now() };
      this.#hearing.look();
      const done = this.#send(batch).then(() => {
        const tookMs = performance.now() - call.sentAt;
        this.#callMs = this.#callMs === undefined ? tookMs : this.#callMs + (tookMs - this.#callMs) * PACE_WEIGHT;
        this.#inFlight.delete(call);
        this.#flush();
        this.#restIfIdle();
      });
      this.#inFlight.set(call, done);
    }
  }

  #expire(): void {
    const now = performance.now();
    // Oldest first in both places, so the first young one ends the search.
    let expired = 0;
    while (expired < this.#waiting.length && (this.#waiting[expired]?.expiresAt ?? Infinity) <= now) {
      this.#waiting[expired]?.answer(NOT_SENT);
      expired++;
    }
    this.#waiting.splice(0, expired);
    for (const { batch } of this.#inFlight.keys()) {
      for (const claim of batch) {
        if (claim.expiresAt > now) break;
        claim.answer(UNKNOWN);
      }
    }
    this.#restIfIdle();
  }

  #restIfIdle(): void {
    if (this.#waiting.length > 0 || this.#inFlight.size > 0) return;
    clearInterval(this.#expiryTimer);
    this.#expiryTimer = undefined;
  }
}
