// Judges the memory of one process by what it says of itself with every sign of life. Says once that it is too heavy, and again
// only after a pause. Counts, and does nothing else.

export interface MemoryLimits {
  /** Resident memory; undefined: no limit. */
  readonly bytesMax: number | undefined;
  /** Signs of life in a row above the limit: less is a peak that the next garbage collection takes away. */
  readonly timesMin: number;
  /** From the start of the process, and from one time to the next: a limit that is too small must not end in a storm of restarts. */
  readonly pauseMs: number;
}

export class MemoryWatch {
  readonly #limits: MemoryLimits;
  readonly #onHeavy: (rssBytes: number) => void;
  #times = 0;
  #notBefore: number;

  constructor(limits: MemoryLimits, onHeavy: (rssBytes: number) => void) {
    this.#limits = limits;
    this.#onHeavy = onHeavy;
    this.#notBefore = performance.now() + limits.pauseMs;
  }

  heard(rssBytes: number): void {
    const { bytesMax, timesMin, pauseMs } = this.#limits;
    this.#times = bytesMax !== undefined && rssBytes > bytesMax ? this.#times + 1 : 0;
    const now = performance.now();
    if (this.#times < timesMin || now < this.#notBefore) return;
    this.#times = 0;
    this.#notBefore = now + pauseMs;
    this.#onHeavy(rssBytes);
  }
}
