// Whether MySQL is older than Redis: an old backup was restored, or a replica that lagged has taken over. Rebuilt from such a
// MySQL, Redis would forget what users were told; written into it, entries would leave the outbox for books that the newer
// backup replaces. So nothing is opened, served or rebuilt until somebody decides. Reads only.
//
// What is compared goes to MySQL first and to Redis afterwards, and never goes back in either: the epoch of a shard, and for
// each coupon that there is one, its version and its ceiling, which every committed claim raises. Read in the opposite order,
// Redis first, MySQL has at least as much, whatever goes on meanwhile and however much Redis has forgotten.
import type { Log } from '../platform/log.js';
import type { Queryable, RowDataPacket } from '../platform/mysql.js';
import type { Redis } from '../platform/redis.js';
import { redisAnswers } from '../platform/redis.js';
import { messageOf, StampedeError } from '../platform/errors.js';
import { couponKeys, fenceKey } from './keys.js';

/** Coupons of one look. */
const CHUNK = 1_000;
const COUPON_FIELD = 'coupon:';
/** While MySQL is older, somebody is expected to mend it. */
const COMPARE_AGAIN_MS = 1_000;

interface Databases {
  readonly redis: Redis;
  readonly mysql: Queryable;
}

/** What Redis has of a coupon; null where the key is lost. */
interface Known {
  readonly couponId: string;
  readonly version: string | null;
  readonly ceiling: string | null;
}

/** By what one sees that MySQL is older, of one shard; undefined when it is not. Rejects when a database does not answer. */
export async function findMysqlOlder({ redis, mysql }: Databases, shard: number): Promise<string | undefined> {
  const epoch = Number(await redis.hget(fenceKey(shard), 'epoch'));
  const [rows] = await mysql.query<RowDataPacket[]>('SELECT epoch FROM shard WHERE shard = ?', [shard]);
  const inMysql = Number(rows[0]?.['epoch'] ?? 0);
  if (epoch > inMysql) return `shard ${shard} has epoch ${epoch} in Redis and ${inMysql} in MySQL`;
  for await (const known of readKnown(redis, shard)) {
    const behind = await findBehind(mysql, known);
    if (behind !== undefined) return behind;
  }
  return undefined;
}

/** The coupons that Redis holds of a shard, a page at a time. */
async function* readKnown(redis: Redis, shard: number): AsyncGenerator<Known[]> {
  let cursor = '0';
  do {
    const [next, flat] = await redis.hscan(fenceKey(shard), cursor, 'MATCH', `${COUPON_FIELD}*`, 'COUNT', CHUNK);
    cursor = next;
    const ids = flat.filter((_, i) => i % 2 === 0).map((field) => field.slice(COUPON_FIELD.length));
    yield await Promise.all(
      ids.map(async (couponId) => {
        const [version = null, ceiling = null] = await redis.hmget(
          couponKeys(shard, couponId).coupon,
          'version',
          'ceiling',
        );
        return { couponId, version, ceiling };
      }),
    );
  } while (cursor !== '0');
}

async function findBehind(mysql: Queryable, known: readonly Known[]): Promise<string | undefined> {
  if (known.length === 0) return undefined;
  const [rows] = await mysql.query<RowDataPacket[]>(
    'SELECT coupon_id, version, ceiling FROM coupon WHERE coupon_id IN (?)',
    [known.map(({ couponId }) => couponId)],
  );
  const inMysql = new Map(rows.map((row) => [String(row['coupon_id']), row]));
  for (const coupon of known) {
    const row = inMysql.get(coupon.couponId);
    if (row === undefined) return `coupon ${coupon.couponId} is in Redis and not in MySQL`;
    for (const field of ['version', 'ceiling'] as const) {
      if (Number(coupon[field] ?? 0) <= Number(row[field])) continue;
      return `coupon ${coupon.couponId} has ${field} ${coupon[field]} in Redis and ${Number(row[field])} in MySQL`;
    }
  }
  return undefined;
}

/** Throws `mysql_older_than_redis`. */
export async function refuseOlderMysql(databases: Databases, shard: number): Promise<void> {
  const finding = await findMysqlOlder(databases, shard);
  if (finding !== undefined) throw new StampedeError('mysql_older_than_redis', finding);
}

/** What a process has found out: which shards it has compared, and whether one of them shows that MySQL is older. */
export class MysqlAge {
  readonly #databases: Databases;
  readonly #shards: readonly number[];
  readonly #log: Log;
  readonly #compared = new Set<number>();
  readonly #findings = new Map<number, string>();
  #comparing: Promise<boolean> | undefined;
  #tried = false;
  #againAt = -Infinity;
  #trouble = '';

  constructor(options: Databases & { readonly shardCount: number; readonly log: Log }) {
    this.#databases = options;
    this.#shards = Array.from({ length: options.shardCount }, (_, shard) => shard);
    this.#log = options.log;
  }

  /** There is one MySQL for all shards: while one shard shows that it is older, none may be used. */
  get older(): boolean {
    return this.#findings.size > 0;
  }

  /** True when every shard has been asked for once, whatever came of it. */
  get tried(): boolean {
    return this.#tried;
  }

  mayUse(shard: number): boolean {
    return !this.older && this.#compared.has(shard);
  }

  /**
   * Compares the shards that were not, or could not be, and all of them while `older`, then once a second. True when one may be
   * used that could not be before. Callers share one comparison; never rejects.
   */
  compare(): Promise<boolean> {
    this.#comparing ??= this.#compareOpen().finally(() => {
      this.#comparing = undefined;
    });
    return this.#comparing;
  }

  /** A rebuild has found it. */
  report(shard: number, finding: string): void {
    this.#compared.delete(shard);
    this.#tell(new Map(this.#findings).set(shard, finding));
  }

  async #compareOpen(): Promise<boolean> {
    if (!redisAnswers(this.#databases.redis)) return false;
    if (this.older && performance.now() < this.#againAt) return false;
    const open = this.#shards.filter((shard) => this.older || !this.#compared.has(shard));
    const findings = new Map(this.#findings);
    let usable = 0;
    const compareOne = async (shard: number): Promise<void> => {
      const finding = await findMysqlOlder(this.#databases, shard);
      if (finding !== undefined) {
        findings.set(shard, finding);
        return;
      }
      findings.delete(shard);
      this.#compared.add(shard);
      usable++;
    };
    const results = await Promise.allSettled(open.map(compareOne));
    this.#reportTrouble(results.find((result) => result.status === 'rejected')?.reason);
    this.#tell(findings);
    this.#tried = true;
    this.#againAt = performance.now() + COMPARE_AGAIN_MS;
    return usable > 0 && !this.older;
  }

  #tell(findings: ReadonlyMap<number, string>): void {
    const [before, after] = [this.#findings.size, findings.size];
    this.#findings.clear();
    for (const [shard, finding] of findings) this.#findings.set(shard, finding);
    if (after > 0 && before === 0)
      this.#log.error(
        { code: 'mysql_older_than_redis', findings: [...findings.values()] },
        'MySQL is older than Redis: nothing is served until the newer MySQL is restored, or Redis emptied (docs/deploy.md)',
      );
    if (before > 0 && after === 0) this.#log.info('MySQL is not older than Redis any more');
  }

  /** One line per kind of trouble, not one per look. */
  #reportTrouble(error: unknown): void {
    const trouble = error === undefined ? '' : messageOf(error);
    if (trouble !== this.#trouble && error !== undefined)
      this.#log.warn({ err: error }, 'MySQL and Redis cannot be compared now, trying again');
    this.#trouble = trouble;
  }
}
