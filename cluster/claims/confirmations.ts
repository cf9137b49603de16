// Asks Redis how far the ledger is with the outbox of every shard of which this process holds unconfirmed claims, so that they
// are forgotten also when no traffic tells. Reads only.
import type { Witness } from './witness.js';
import { fenceKey, outboxKey } from '../../coupons/keys.js';
import type { Scripts } from '../../lua/scripts.js';
import { runScript } from '../../lua/scripts.js';
import type { Log } from '../../platform/log.js';
import type { Redis } from '../../platform/redis.js';

const LOOK_INTERVAL_MS = 250;
/** While somebody waits to leave. */
const LEAVE_INTERVAL_MS = 20;

export class Confirmations {
  readonly #redis: Redis;
  readonly #scripts: Scripts;
  readonly #witness: Witness;
  readonly #log: Log;
  #timer: NodeJS.Timeout | undefined;
  #asking: Promise<void> | undefined;

  constructor(options: { redis: Redis; scripts: Scripts; witness: Witness; log: Log }) {
    this.#redis = options.redis;
    this.#scripts = options.scripts;
    this.#witness = options.witness;
    this.#log = options.log;
  }

  start(): void {
    this.#timer ??= setInterval(() => {
      this.#asking ??= this.#ask().finally(() => {
        this.#asking = undefined;
      });
    }, LOOK_INTERVAL_MS);
  }

  /** True when nothing is unconfirmed or owed any more, false at the deadline (epoch ms). */
  async emptied(deadline: number): Promise<boolean> {
    while (this.#witness.size > 0) {
      if (Date.now() >= deadline) return false;
      await this.#ask();
      if (this.#witness.size > 0) await new Promise((resolve) => setTimeout(resolve, LEAVE_INTERVAL_MS));
    }
    return true;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#asking;
  }

  /** Never rejects. */
  async #ask(): Promise<void> {
    if (this.#redis.status !== 'ready') return;
    const asked = this.#witness.unconfirmed.map(async ({ shard, epoch }) => {
      const keys = [fenceKey(shard), outboxKey(shard)];
      const reply = await runScript(this.#redis, this.#scripts.outbox_ends, keys, [epoch]);
      const [code, committed] = reply as [code: number, committed: string];
      if (code === 0) this.#witness.confirm(shard, epoch, committed);
    });
    for (const result of await Promise.allSettled(asked))
      if (result.status === 'rejected') this.#log.debug({ err: result.reason as unknown }, 'outbox could not be seen');
  }
}
