// Whether Redis keeps what it has acknowledged: AOF on, flushed to disk before every reply. Asked at each connection and
// again every 5 s, since an operator may change it any time; a change is noticed that much later.
import type { Log } from './log.js';
import type { Redis } from './redis.js';

const CHECK_INTERVAL_MS = 5_000;

export class RedisDurability {
  readonly #redis: Redis;
  readonly #timer: NodeJS.Timeout;
  readonly #log: Log;
  #fsyncBeforeReply = false;

  /** Begins to ask; `stop` ends it. */
  constructor(redis: Redis, log: Log) {
    this.#redis = redis;
    this.#log = log;
    redis.on('ready', this.#check);
    redis.on('close', this.#forget);
    this.#timer = setInterval(this.#check, CHECK_INTERVAL_MS);
    if (redis.status === 'ready') this.#check();
  }

  /** False until known, and whenever Redis cannot or will not tell. */
  get fsyncBeforeReply(): boolean {
    return this.#fsyncBeforeReply;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#redis.off('ready', this.#check);
    this.#redis.off('close', this.#forget);
  }

  readonly #forget = (): void => {
    this.#fsyncBeforeReply = false;
  };

  readonly #check = (): void => {
    fsyncsBeforeReply(this.#redis).then((answer) => {
      if (this.#fsyncBeforeReply && !answer) this.#log.warn('Redis does not flush before it replies any more');
      this.#fsyncBeforeReply = answer;
    }, this.#forget);
  };
}

/**
 * True when every reply waits for the disk: `appendonly yes`, `appendfsync always`, also during a rewrite of the file
 * (`no-appendfsync-on-rewrite no`), and the latest write succeeded. A Redis that will not tell its configuration is not known
 * to keep anything. Rejects when Redis does not answer.
 */
export async function fsyncsBeforeReply(redis: Redis): Promise<boolean> {
  const flat = (await redis.config('GET', '*append*').catch(emptyIfForbidden)) as string[];
  const value = (name: string): string | undefined => flat[flat.indexOf(name) + 1];
  const configured =
    value('appendonly') === 'yes' && value('appendfsync') === 'always' && value('no-appendfsync-on-rewrite') === 'no';
  if (!configured) return false;
  const persistence = await redis.info('persistence');
  return persistence.includes('aof_enabled:1') && persistence.includes('aof_last_write_status:ok');
}

/** Managed servers often keep CONFIG to themselves; any other error is a failure to answer. */
function emptyIfForbidden(error: unknown): string[] {
  if (error instanceof Error && /^(ERR unknown command|NOPERM)/.test(error.message)) return [];
  throw error;
}
