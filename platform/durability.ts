// Whether Redis keeps what it has acknowledged: AOF on, flushed to disk before every reply. Asked at each connection and
// again while it runs, since an operator may change it any time.
import type { Redis } from 'ioredis';

const CHECK_INTERVAL_MS = 5_000;

export class RedisDurability {
  readonly #redis: Redis;
  readonly #timer: NodeJS.Timeout;
  #fsyncBeforeReply = false;

  /** Begins to ask; `stop` ends it. */
  constructor(redis: Redis) {
    this.#redis = redis;
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
      this.#fsyncBeforeReply = answer;
    }, this.#forget);
  };
}

/** True when `appendonly yes` and `appendfsync always` are in force. Rejects when Redis does not answer. */
export async function fsyncsBeforeReply(redis: Redis): Promise<boolean> {
  const flat = (await redis.config('GET', 'append*')) as string[];
  const value = (name: string): string | undefined => flat[flat.indexOf(name) + 1];
  return value('appendonly') === 'yes' && value('appendfsync') === 'always';
}
