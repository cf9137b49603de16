// One Redis connection with a mailbox for each shard: sends batches of claims and says what became of each. A second line
// exists where claims wait for something on their connection (WAIT), so that the others do not wait with them.
// Touches Redis only, and only through lua/claim.lua.
import type { ClaimMetrics } from './claim-metrics.js';
import type { Answer, ClaimOutcome } from './claim-service.js';
import type { ClaimCall } from './claim-call.js';
import { decodeReply, encodeClaims } from './claim-call.js';
import type { EpochWatch } from './epoch-watch.js';
import { HearingDelay } from './hearing-delay.js';
import type { PendingClaim } from './mailbox.js';
import { Mailbox } from './mailbox.js';
import type { Witness } from './witness.js';
import type { Scripts } from '../../lua/scripts.js';
import { runScript, runScriptAndWait } from '../../lua/scripts.js';
import type { ErrorCode } from '../../platform/errors.js';
import type { Log } from '../../platform/log.js';
import type { Redis } from '../../platform/redis.js';
import type { Settings } from '../../platform/settings.js';

/** Claims of one script call: about 2.5 ms of Redis at 5 µs a claim, so other shards do not notice. */
const BATCH_MAX = 512;
/** One batch runs in Redis while the next one travels. */
const CALLS_MAX = 2;
/** Of a process that hears replies late: together 20 ms of Redis, for each shard that is flooded. */
const FULL_CALLS_MAX = 8;
/** Part of the claim's time limit that WAIT may use: the answer has to travel, too. */
const WAIT_PART = 0.8;

export interface ClaimLineOptions {
  readonly redis: Redis;
  readonly scripts: Scripts;
  readonly epochs: EpochWatch;
  readonly witness: Witness;
  readonly settings: Pick<Settings, 'mailboxDepthMax' | 'claimTimeoutMs'>;
  readonly log: Log;
  readonly metrics: Pick<ClaimMetrics, 'batchAnswered'>;
  /** Replicas that must have each batch: fewer make its claims, and its `returned`, `outcome_unknown`. Undefined: none is asked. */
  readonly replicas?: number;
}

export class ClaimLine {
  readonly #options: ClaimLineOptions;
  readonly #mailboxes: readonly Mailbox[];
  readonly #hearing = new HearingDelay();

  constructor(options: ClaimLineOptions) {
    this.#options = options;
    const { settings, epochs } = options;
    const limits = {
      depthMax: settings.mailboxDepthMax,
      batchMax: BATCH_MAX,
      callsMax: CALLS_MAX,
      fullCallsMax: FULL_CALLS_MAX,
      timeLimitMs: settings.claimTimeoutMs,
    };
    this.#mailboxes = Array.from(
      { length: epochs.count },
      (_, shard) => new Mailbox(limits, this.#hearing, (batch) => this.#send(shard, batch)),
    );
  }

  /** `answer` hears, once, what the script said, not yet at the coupon's acknowledgement level; it must not throw. */
  claim(couponId: string, userId: string, answer: Answer): void {
    // What is told has to be remembered until MySQL has it.
    if (this.#options.witness.full) answer(LEDGER_BEHIND);
    else this.#mailboxOf(couponId).put(couponId, userId, answer);
  }

  /** The same for many users, in their order. */
  claimAll(couponId: string, userIds: readonly string[]): Promise<ClaimOutcome[]> {
    if (this.#options.witness.full) return Promise.resolve(userIds.map(() => LEDGER_BEHIND));
    return this.#mailboxOf(couponId).putAll(couponId, userIds);
  }

  #mailboxOf(couponId: string): Mailbox {
    const mailbox = this.#mailboxes[this.#options.epochs.shardOf(couponId)];
    if (mailbox === undefined) throw new Error('a coupon has no shard');
    return mailbox;
  }

  /** Claims that wait. */
  get depth(): number {
    return this.#mailboxes.reduce((sum, mailbox) => sum + mailbox.depth, 0);
  }

  /** Answers what waits; resolves when nothing is in flight. The connection stays open. */
  async close(): Promise<void> {
    await Promise.all(this.#mailboxes.map((mailbox) => mailbox.close()));
    this.#hearing.stop();
  }

  /** The reply of the script, and how many replicas have what it wrote. */
  async #run({ keys, args }: ClaimCall): Promise<{ reply: unknown; replicas: number }> {
    const { redis, scripts, settings, replicas } = this.#options;
    if (replicas === undefined) return { reply: await runScript(redis, scripts.claim, keys, args), replicas: 0 };
    const timeoutMs = Math.floor(settings.claimTimeoutMs * WAIT_PART);
    return await runScriptAndWait(redis, scripts.claim, keys, args, { replicas, timeoutMs });
  }

  /** Sends one batch and answers every claim in it. Never rejects. */
  async #send(shard: number, batch: readonly PendingClaim[]): Promise<void> {
    const { redis, epochs, witness, log, metrics, replicas } = this.#options;
    try {
      for (let attempt = 1; ; attempt++) {
        const epoch = epochs.epochOf(shard);
        if (epoch === undefined || redis.status !== 'ready') {
          answerAll(batch, epochs.known() && redis.status === 'ready' ? 'fenced' : 'unavailable');
          return;
        }
        const call = encodeClaims(shard, epoch, batch);
        const sentAt = performance.now();
        const answer = await this.#run(call);
        metrics.batchAnswered(batch.length, sentAt);
        const reply = decodeReply(answer.reply, call);
        if (reply !== 'fenced') {
          const { outcomes, told, ends } = reply;
          const confirmed = replicas === undefined || answer.replicas >= replicas;
          // False: the epoch is over and reported, so nothing that was granted under it may be told.
          const tellable = witness.remember(shard, epoch, ends, told) && confirmed;
          let i = 0;
          for (const claims of call.groups) {
            for (const claim of claims) claim.answer(finalOutcome(outcomes[i++], tellable));
          }
          return;
        }
        // The script did nothing, so with a newer epoch the batch may be sent again, once.
        await epochs.refresh().catch(() => undefined);
        if (attempt > 1 || epochs.epochOf(shard) === epoch) {
          epochs.hurry();
          answerAll(batch, 'fenced');
          return;
        }
      }
    } catch (error) {
      log.warn({ err: error, shard, claims: batch.length }, 'claim batch failed');
      answerAll(batch, surelyNotRun(error) ? 'unavailable' : 'outcome_unknown');
    }
  }
}

const LEDGER_BEHIND: ClaimOutcome = { status: 'refused', code: 'ledger_behind' };

function finalOutcome(outcome: ClaimOutcome | undefined, confirmed: boolean): ClaimOutcome {
  if (outcome === undefined) return { status: 'refused', code: 'internal' };
  const stands = confirmed || (outcome.status === 'refused' && outcome.code !== 'returned');
  return stands ? outcome : { status: 'refused', code: 'outcome_unknown' };
}

/**
 * Errors that Redis gives before it runs a script, or that this side gives before it sends one. Anything else, a time-out
 * or a lost connection first of all, leaves the outcome unknown.
 */
const NOT_RUN =
  /^(LOADING|READONLY|OOM|MISCONF|MASTERDOWN|BUSY|NOAUTH|NOPERM|CLUSTERDOWN|MOVED|ASK|TRYAGAIN|Stream isn't writeable|Redis command was not sent)/;

export function surelyNotRun(error: unknown): boolean {
  return error instanceof Error && NOT_RUN.test(error.message);
}

function answerAll(claims: readonly PendingClaim[], code: ErrorCode): void {
  for (const claim of claims) claim.answer({ status: 'refused', code });
}
