// Asks one process at a steady pace whether its event loop still turns, and says so once when it does not.
// Knows nothing of processes or messages.

export interface HeartbeatOptions {
  readonly ping: () => void;
  /** Called once, after `missesMax` pings without a sign of life; the heartbeat has stopped then. */
  readonly onSilent: () => void;
  readonly intervalMs: number;
  readonly missesMax: number;
}

export class Heartbeat {
  readonly #timer: NodeJS.Timeout;
  #misses = 0;
  /** `performance.now()`. */
  #standsStillUntil = 0;

  constructor(options: HeartbeatOptions) {
    this.#timer = setInterval(() => {
      if (this.#misses >= options.missesMax && performance.now() >= this.#standsStillUntil) {
        this.stop();
        options.onSilent();
        return;
      }
      this.#misses += 1;
      options.ping();
    }, options.intervalMs);
  }

  /** Any message from the process is a sign of life. */
  heard(): void {
    this.#misses = 0;
  }

  /** The process stands still on purpose: it may be silent for `ms` from now on. 0 takes that back. */
  standstill(ms: number): void {
    this.#standsStillUntil = performance.now() + ms;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
