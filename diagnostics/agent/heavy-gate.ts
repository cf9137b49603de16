// One heavy operation at a time in a process: profiles, traces and snapshots would falsify each other and add up.

/** Refused because another heavy operation runs. */
export class Busy extends Error {
  override readonly name = 'Busy';
  readonly retryAfterSeconds: number;

  constructor(running: string, retryAfterSeconds: number) {
    super(`${running} is running: one heavy operation at a time`);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

export class HeavyGate {
  #running: { readonly what: string; readonly until: number } | undefined;

  /**
   * Runs `operation` alone. `expectedMs` tells those refused meanwhile when to come again.
   * @throws Busy while another one runs.
   */
  async run<T>(what: string, expectedMs: number, operation: () => Promise<T>): Promise<T> {
    const leave = this.enter(what, expectedMs);
    try {
      return await operation();
    } finally {
      leave();
    }
  }

  /**
   * For what outlives a function call: gives the function that ends it, which may be called more than once.
   * @throws Busy while another one runs.
   */
  enter(what: string, expectedMs: number): () => void {
    if (this.#running !== undefined) {
      const leftMs = this.#running.until - Date.now();
      throw new Busy(this.#running.what, Math.max(1, Math.ceil(leftMs / 1000)));
    }
    const mine = { what, until: Date.now() + expectedMs };
    this.#running = mine;
    return () => {
      if (this.#running === mine) this.#running = undefined;
    };
  }
}
