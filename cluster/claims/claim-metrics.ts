// What the claim path counts: the outcome of every claim, how long it took, and the batches it went in. The price of a claim is
// one Map look-up and one observation of a histogram; everything else is per batch, or read when somebody asks.
import type { ErrorCode } from '../../platform/errors.js';
import type { Histogram, Metrics, Tally } from '../../platform/metrics/metrics.js';
import type { ClaimOutcome } from './claim-service.js';

/**
 * Seconds. 0.25 is the service objective for the answer to a claim (docs/deploy.md), 2 the default CLAIM_TIMEOUT_MS; the
 * others show where a claim's time goes below and above it.
 */
const CLAIM_DURATION_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5];
/** Seconds. A batch of 512 holds Redis for about 2.5 ms. */
const CALL_DURATION_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1];
const BATCH_SIZE_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

const RESULTS = [
  ...(['claimed', 'already_claimed'] as const),
  ...(['sold_out', 'not_open', 'ended', 'paused', 'returned', 'unknown_coupon'] as const),
  ...(['overloaded', 'fenced', 'ledger_behind', 'unavailable', 'outcome_unknown'] as const),
] satisfies (ErrorCode | 'claimed' | 'already_claimed')[];

export class ClaimMetrics {
  readonly #metrics: Metrics;
  readonly #results: Tally;
  readonly #duration: Histogram;
  readonly #batchSize: Histogram;
  readonly #callDuration: Histogram;

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
    this.#results = metrics.tally('stampede_claims_total', 'Claims by what their users were told.', 'result');
    this.#results.announce(RESULTS);
    this.#duration = metrics.histogram(
      'stampede_claim_duration_seconds',
      'From the arrival of a claim to its outcome, at the acknowledgement level of its coupon.',
      CLAIM_DURATION_BUCKETS,
    );
    this.#batchSize = metrics.histogram('stampede_claim_batch_size', 'Claims of one script call.', BATCH_SIZE_BUCKETS);
    this.#callDuration = metrics.histogram(
      'stampede_claim_call_duration_seconds',
      'One script call with a batch of claims, from sending it to its reply.',
      CALL_DURATION_BUCKETS,
    );
  }

  /** `startedAt` by `performance.now()`. */
  settled(outcome: ClaimOutcome, startedAt: number): void {
    this.#results.count(outcome.status === 'refused' ? outcome.code : outcome.status);
    this.#duration.observe((performance.now() - startedAt) / 1_000);
  }

  /** A claim was refused before anything was done for it: it took no time that would say anything. */
  shed(): void {
    this.#results.count('overloaded' satisfies ErrorCode);
  }

  /** A batch was sent at `startedAt`, and Redis has answered. */
  batchAnswered(claims: number, startedAt: number): void {
    this.#batchSize.observe(claims);
    this.#callDuration.observe((performance.now() - startedAt) / 1_000);
  }

  /** `depth`: claims that wait in the mailboxes of this process now. */
  watchMailboxes(depth: () => number): void {
    const gauge = this.#metrics.gauge('stampede_mailbox_depth', 'Claims that wait in mailboxes for their script call.');
    this.#metrics.collect('mailboxes', [gauge], () => gauge.set(depth()));
  }
}
