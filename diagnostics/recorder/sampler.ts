// Decides which of very many events are recorded: all of them while they are few, one in N when they are many, so that
// no more than a stated number per second is spent. Pure but for the random source passed in.

/** At least so many may be taken at the rate in force before a burst makes it sparser: a small program is recorded whole. */
const BURST_MIN = 200;
/** Shares of the budget after which a burst within one interval makes the sampling twice as sparse, again and again. */
const BURST_STEPS_PER_BUDGET = 8;
/** In a pause the sampling becomes dense again step by step: load that comes back soon does not cost the beginning of a burst again. */
const RATE_HALVES_IN_MS = 500;
const MS_PER_SECOND = 1_000;

export interface SamplerOptions {
  /** Recordings per second that may be spent. */
  readonly perSecondMax: number;
  /** 0 to 1. Sampling every Nth exactly would meet the same line for ever in code that makes N promises a request. */
  readonly random: () => number;
}

export class Sampler {
  /** One in `rate` is taken now. */
  rate = 1;
  readonly #perSecondMax: number;
  readonly #random: () => number;
  #left = 1;
  #seen = 0;
  #taken = 0;
  #burstAt: number;
  #perSecond = 0;

  constructor({ perSecondMax, random }: SamplerOptions) {
    this.#perSecondMax = perSecondMax;
    this.#random = random;
    this.#burstAt = Math.max(BURST_MIN, perSecondMax);
  }

  /** Recordings per second in the last interval. */
  get perSecond(): number {
    return this.#perSecond;
  }

  /** Once per event; the hot path. 0: pass it by. Otherwise record it; it stands for that many. */
  take(): number {
    if (--this.#left > 0) return 0;
    const weight = this.rate;
    this.#seen += this.rate;
    this.#taken += 1;
    if (this.#taken >= this.#burstAt) {
      this.rate *= 2;
      this.#burstAt += this.#perSecondMax / BURST_STEPS_PER_BUDGET;
    }
    // On average `rate`, between 1 and twice as many.
    this.#left = 1 + Math.floor(this.#random() * (2 * this.rate - 1));
    return weight;
  }

  /** From now on `take` takes nothing. */
  stop(): void {
    this.#left = Infinity;
  }

  /**
   * Ends an interval of `elapsedMs` (above 0) and sets the rate for the next by what it has seen. `share`: of the budget that may
   * be spent then, above 0 and at most 1.
   */
  adjust(elapsedMs: number, share = 1): void {
    const seconds = elapsedMs / MS_PER_SECOND;
    this.#perSecond = this.#taken / seconds;
    const wanted = this.#seen / seconds / (this.#perSecondMax * share);
    const least = this.rate / 2 ** (elapsedMs / RATE_HALVES_IN_MS);
    this.rate = Math.max(1, Math.ceil(wanted), Math.floor(least));
    this.#left = Math.min(this.#left, 2 * this.rate);
    this.#seen = 0;
    this.#taken = 0;
    this.#burstAt = Math.max(BURST_MIN, this.#perSecondMax * Math.max(1, seconds));
  }
}
