// Whether MySQL is older than Redis: an old backup was restored, or a replica that lagged has taken over. Rebuilt from such a
// MySQL, Redis would forget what users were told; written into it, entries would leave the outbox for books that the newer
// backup replaces. So nothing is opened, served or rebuilt until somebody decides. Reads only.
//
// What is compared goes to MySQL first and to Redis afterwards, and never goes back in either: the epoch of a shard, and for
// each coupon that there is one, its version and its ceiling, which every committed claim raises. Read in the opposite order,
// Redis first, MySQL has at least as much, whatever goes on meanwhile and however much Redis has forgotten.
import type { Log } from '../platform/log.js';
import type { Queryable, RowDataPacket } from '../platform/mysql.js';
import { ER_NO_SUCH_TABLE, mysqlErrno } from '../platform/mysql.js';
import type { Redis } from '../platform/redis.js';
import { redisAnswers } from '../platform/redis.js';
import { messageOf, StampedeError } from '../platform/errors.js';
import { couponKeys, fenceKey } from './keys.js';

/** Coupons of one look. */
const CHUNK = 1_000;
const COUPON_FIELD = 'coupon:';
/** While MySQL is older somebody is expected to mend it; and a shard that could not be compared is not asked for at every look. */
const COMPARE_AGAIN_MS = 1_000;
/** What was compared once is compared again, one shard at a time: a replica that lagged may have taken over unseen. */
const COMPARE_ONE_AGAIN_MS = 5_000;

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

interface Row {
  readonly version: number;
  readonly ceiling: number;
}

/** By what one sees that MySQL is older, of one shard; undefined when it is not. Rejects when a database does not answer. */
export async function findMysqlOlder({ redis, mysql }: Databases, shard: number): Promise<string | undefined> {
  const epoch = Number(await redis.hget(fenceKey(shard), 'epoch').catch(orLost));
  const [rows] = await mysql.query<RowDataPacket[]>('SELECT epoch FROM shard WHERE shard = ?', [shard]);
  const inMysql = Number(rows[0]?.['epoch'] ?? 0);
  if (epoch > inMysql) return `shard ${shard} has epoch ${epoch} in Redis and ${inMysql} in MySQL`;
  for await (const known of readKnown(redis, shard)) {
    const behind = await findBehind(mysql, known);
    if (behind !== undefined) return behind;
  }
  return undefined;
}

/** A key of another type is damaged, which a rebuild mends. It says as little as one that is lost. */
function orLost(error: unknown): null {
  if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return null;
  throw error;
}

/** The coupons that Redis holds of a shard, a page at a time. */
async function* readKnown(redis: Redis, shard: number): AsyncGenerator<Known[]> {
  let cursor = '0';
  do {
    const page = await redis.hscan(fenceKey(shard), cursor, 'MATCH', `${COUPON_FIELD}*`, 'COUNT', CHUNK).catch(orLost);
    if (page === null) return;
    cursor = page[0];
    const ids = page[1].filter((_, i) => i % 2 === 0).map((field) => field.slice(COUPON_FIELD.length));
    yield await Promise.all(ids.map((couponId) => readOne(redis, shard, couponId)));
  } while (cursor !== '0');
}

async function readOne(redis: Redis, shard: number, couponId: string): Promise<Known> {
  const fields = await redis.hmget(couponKeys(shard, couponId).coupon, 'version', 'ceiling').catch(orLost);
  const [version = null, ceiling = null] = fields ?? [];
  return { couponId, version, ceiling };
}

async function findBehind(mysql: Queryable, known: readonly Known[]): Promise<string | undefined> {
  if (known.length === 0) return undefined;
  const [rows] = await mysql.query<RowDataPacket[]>(
    'SELECT coupon_id, version, ceiling FROM coupon WHERE coupon_id IN (?)',
    [known.map(({ couponId }) => couponId)],
  );
  const inMysql = new Map(
    rows.map((row) => [String(row['coupon_id']), { version: Number(row['version']), ceiling: Number(row['ceiling']) }]),
  );
  for (const coupon of known) {
    const behind = behindOf(coupon, inMysql.get(coupon.couponId));
    if (behind !== undefined) return behind;
  }
  return undefined;
}

function behindOf(known: Known, row: Row | undefined): string | undefined {
  const { couponId } = known;
  if (row === undefined) return `coupon ${couponId} is in Redis and not in MySQL`;
  for (const field of ['version', 'ceiling'] as const) {
    // What is lost, or no number, is not more than anything.
    if (Number(known[field] ?? 0) > row[field])
      return `coupon ${couponId} has ${field} ${known[field]} in Redis and ${row[field]} in MySQL`;
  }
  return undefined;
}

/** Throws `mysql_older_than_redis`. */
export async function refuseOlderMysql(databases: Databases, shard: number): Promise<void> {
  const finding = await findMysqlOlder(databases, shard);
  if (finding !== undefined) throw new StampedeError('mysql_older_than_redis', finding);
}

/**
 * The same for one coupon that is about to be changed: a change of an older MySQL would take the number of one that Redis has,
 * and pass for it. `readRow` is called after Redis was read, or the row is locked meanwhile. Throws also what Redis throws.
 */
export async function refuseOlderRow(
  redis: Redis,
  { shard, couponId }: { readonly shard: number; readonly couponId: string },
  readRow: () => Promise<Row | undefined>,
): Promise<void> {
  const known = await readOne(redis, shard, couponId);
  if (known.version === null) return;
  const behind = behindOf(known, await readRow());
  if (behind !== undefined) throw new StampedeError('mysql_older_than_redis', behind);
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
  #doubted = false;
  #againAt = -Infinity;
  #oneAgainAt = -Infinity;
  /** The shard that was compared again last. */
  #turn = 0;
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

  /** By what one sees it, of a shard. */
  findingOf(shard: number): string | undefined {
    return this.#findings.get(shard);
  }

  /**
   * Compares the shards that were not, or could not be; all of them while `older`, then once a second; and one of the others now
   * and then. True when one may be used that could not be before. Callers share one comparison; never rejects.
   */
  compare(): Promise<boolean> {
    this.#comparing ??= this.#compareDue().finally(() => {
      this.#comparing = undefined;
    });
    return this.#comparing;
  }

  /** A rebuild has found it. */
  report(shard: number, finding: string): void {
    this.#compared.delete(shard);
    this.#tell(() => this.#findings.set(shard, finding));
  }

  /** MySQL did not answer: it may be another one that does next. Nothing is closed, but everything is compared again. */
  doubt(): void {
    this.#doubted = true;
  }

  async #compareDue(): Promise<boolean> {
    const now = performance.now();
    if (!redisAnswers(this.#databases.redis) || now < this.#againAt) return false;
    const due = this.#due(now);
    if (due.length === 0) return false;
    this.#doubted = false;
    let usable = 0;
    const compareOne = async (shard: number): Promise<void> => {
      const finding = await findMysqlOlder(this.#databases, shard);
      if (finding !== undefined) {
        this.report(shard, finding);
        return;
      }
      if (!this.#compared.has(shard)) usable++;
      this.#compared.add(shard);
      this.#tell(() => this.#findings.delete(shard));
    };
    const results = await Promise.allSettled(due.map(compareOne));
    const failed = results.find((result) => result.status === 'rejected');
    this.#reportTrouble(failed?.reason);
    this.#tried = true;
    if (failed !== undefined || this.older) this.#againAt = performance.now() + COMPARE_AGAIN_MS;
    return usable > 0 && !this.older;
  }

  #due(now: number): readonly number[] {
    if (this.older || this.#doubted) return this.#shards;
    const open = this.#shards.filter((shard) => !this.#compared.has(shard));
    if (now < this.#oneAgainAt) return open;
    this.#oneAgainAt = now + COMPARE_ONE_AGAIN_MS;
    this.#turn = (this.#turn + 1) % this.#shards.length;
    return open.includes(this.#turn) ? open : [...open, this.#turn];
  }

  #tell(change: () => void): void {
    const before = this.#findings.size > 0;
    change();
    const after = this.#findings.size > 0;
    if (after && !before)
      this.#log.error(
        { code: 'mysql_older_than_redis', findings: [...this.#findings.values()] },
        'MySQL is older than Redis: nothing is served until the newer MySQL is restored, or Redis emptied (docs/deploy.md)',
      );
    if (before && !after) this.#log.info('MySQL is not older than Redis any more');
  }

  /** One line per kind of trouble, not one per look. */
  #reportTrouble(error: unknown): void {
    const trouble = error === undefined ? '' : messageOf(error);
    // At the very first start the ledger has yet to make the tables.
    if (mysqlErrno(error) === ER_NO_SUCH_TABLE) this.#log.debug('MySQL has no schema yet');
    else if (trouble !== this.#trouble && error !== undefined)
      this.#log.warn({ err: error }, 'MySQL and Redis cannot be compared now, trying again');
    this.#trouble = trouble;
  }
}
