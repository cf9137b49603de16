// Takes workers that are proven dead out of the register once nothing that they told can be unconfirmed any more: when the
// ledger is behind everything that was in the outbox after their death was seen. Until then a rebuild has to count them as
// missing, and withholds for them. Knows only processes of its own machine; elsewhere their own instance does this.
import { fenceKey, outboxKey } from '../../coupons/keys.js';
import { isLower } from '../../coupons/outbox.js';
import type { Attendance } from '../../coupons/witnesses.js';
import { retire } from '../../coupons/witnesses.js';
import type { Scripts } from '../../lua/scripts.js';
import { runScript } from '../../lua/scripts.js';
import type { Log } from '../../platform/log.js';
import type { Pool } from '../../platform/mysql.js';
import { isProvenDead, thisProcess } from '../../platform/process-identity.js';
import type { Redis } from '../../platform/redis.js';

export interface RetireContext {
  readonly redis: Redis;
  readonly mysql: Pool;
  readonly scripts: Scripts;
  readonly log: Log;
}

/** Of one shard. */
export class DeadWorkers {
  readonly #context: RetireContext;
  readonly #observer = thisProcess();
  /** The newest outbox id after a death was seen, by worker and epoch. */
  #lastIds = new Map<string, string>();

  constructor(context: RetireContext) {
    this.#context = context;
  }

  /** Looks at those that are registered and have not reported. Rejects when a database does not answer. */
  async retire(registered: readonly Attendance[]): Promise<void> {
    const { mysql, log } = this.#context;
    const lastIds = new Map<string, string>();
    for (const attendance of registered.filter(({ process }) => isProvenDead(process, this.#observer))) {
      const { worker, shard, epoch } = attendance;
      const ends = await this.#outboxEnds(attendance);
      const lastId = this.#lastIds.get(`${worker} ${epoch}`) ?? ends?.newest;
      if (ends === undefined || lastId === undefined) continue;
      if (lastId === '' || isLower(lastId, ends.committed)) {
        await retire(mysql, attendance);
        log.info({ shard, epoch, worker }, 'a dead worker has nothing unconfirmed');
      } else {
        lastIds.set(`${worker} ${epoch}`, lastId);
      }
    }
    this.#lastIds = lastIds;
  }

  async #outboxEnds({ shard, epoch }: Attendance): Promise<{ committed: string; newest: string } | undefined> {
    const { redis, scripts } = this.#context;
    const reply = await runScript(redis, scripts.outbox_ends, [fenceKey(shard), outboxKey(shard)], [epoch]);
    const [code, committed, newest] = reply as [code: number, committed: string, newest: string];
    return code === 0 ? { committed, newest } : undefined;
  }
}
