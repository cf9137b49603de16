// Whether Redis keeps what it has acknowledged: AOF on, flushed to disk before every reply. Each server is asked when it is
// first asked about and again every 5 s, since an operator may change it any time; a change is noticed that much later.
import type { Log } from './log.js';
import type { Redis, RedisServer } from './redis.js';
import { mastersOf, serverOf } from './redis.js';

const CHECK_INTERVAL_MS = 5_000;

export class RedisDurability {
  readonly #redis: Redis;
  readonly #timer: NodeJS.Timeout;
  readonly #log: Log;
  /** Of the servers that are connected; a question under way, or what it has shown. */
  readonly #answers = new Map<RedisServer, boolean | Promise<boolean>>();

  /** Begins to ask; `stop` ends it. */
  constructor(redis: Redis, log: Log) {
    this.#redis = redis;
    this.#log = log;
    this.#timer = setInterval(() => this.#askAgain(), CHECK_INTERVAL_MS);
  }

  /** Of the server that has this key now. False while Redis cannot or will not tell. Never rejects. */
  fsyncsBeforeReply(key: string): boolean | Promise<boolean> {
    const server = serverOf(this.#redis, key);
    if (server === undefined) return false;
    return this.#answers.get(server) ?? this.#askFirst(server);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #askAgain(): void {
    for (const server of mastersOf(this.#redis)) {
      if (typeof this.#answers.get(server) === 'boolean') this.#ask(server).catch(() => undefined);
    }
  }

  #askFirst(server: RedisServer): Promise<boolean> {
    // A new connection may lead to another server, or to one with another configuration.
    server.once('close', () => this.#answers.delete(server));
    const answer = this.#ask(server);
    this.#answers.set(server, answer);
    return answer;
  }

  /** Never rejects. */
  async #ask(server: RedisServer): Promise<boolean> {
    const answer = await fsyncsBeforeReply(server).catch(() => false);
    if (this.#answers.get(server) === true && !answer)
      this.#log.warn('Redis does not flush before it replies any more');
    // It may have gone meanwhile, and then this is no answer for whoever comes next.
    if (this.#answers.has(server)) this.#answers.set(server, answer);
    return answer;
  }
}

/**
 * True when every reply waits for the disk: `appendonly yes`, `appendfsync always`, also during a rewrite of the file
 * (`no-appendfsync-on-rewrite no`), and the latest write succeeded. A Redis that will not tell its configuration is not known
 * to keep anything. Rejects when Redis does not answer.
 */
export async function fsyncsBeforeReply(server: RedisServer): Promise<boolean> {
  const flat = (await server.config('GET', '*append*').catch(emptyIfForbidden)) as string[];
  const value = (name: string): string | undefined => flat[flat.indexOf(name) + 1];
  const configured =
    value('appendonly') === 'yes' && value('appendfsync') === 'always' && value('no-appendfsync-on-rewrite') === 'no';
  if (!configured) return false;
  const persistence = await server.info('persistence');
  return persistence.includes('aof_enabled:1') && persistence.includes('aof_last_write_status:ok');
}

/** Managed servers often keep CONFIG to themselves; any other error is a failure to answer. */
function emptyIfForbidden(error: unknown): string[] {
  if (error instanceof Error && /^(ERR unknown command|NOPERM)/.test(error.message)) return [];
  throw error;
}
