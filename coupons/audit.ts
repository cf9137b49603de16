// The audit: checks invariants I1 to I6 for every coupon over Redis, outbox and MySQL, while traffic goes on. It reads only.
//
// Nothing is locked, so the order of the reads matters. For the coupons of a shard, a page at a time: (1) Redis' counters,
// each coupon's at one moment, (2) the shard's outbox and after it the dead letters, then for each coupon (3) the rows of MySQL
// and (4) Redis' receipts of their users. An entry leaves the outbox only after its row or letter is committed, and a letter
// goes only after its row, so every number that was handed out by (1) is in (2) or in (3), and every row of (3) was granted before (4). Numbers handed out after (1) are left to the next audit. Returns
// have no numbers of their own: those known from (2) and (3) are at least as many as in (1), and at the most as many as Redis
// has (5) in the end.
// A shard that is closed or opened anew meanwhile ends the audit: half of a picture is none.
import type { AuditReport } from './coupons.js';
import type { Defect } from './audit-findings.js';
import { Findings } from './audit-findings.js';
import type { ChangeContext } from './changes.js';
import { byCoupon } from './claim-log.js';
import type { Counters } from './coupon-audit.js';
import { CouponAudit } from './coupon-audit.js';
import type { CouponRow } from './coupon-table.js';
import { readCoupons } from './coupon-table.js';
import { countLetters, readLetteredClaims } from './dead-letters.js';
import { couponKeys, fenceKey, outboxKey } from './keys.js';
import type { GrantEntry, RawEntry, ReturnEntry } from './outbox.js';
import { fieldsOf, parseEntry } from './outbox.js';
import { CODE } from '../lua/codes.js';
import { runScript } from '../lua/scripts.js';
import { StampedeError } from '../platform/errors.js';
import type { RowDataPacket } from '../platform/mysql.js';

const PAGE = 1_000;
/** Throws `fenced` or `unavailable` when a shard cannot be read: an audit that saw half of the coupons is none. */
export async function audit(
  context: ChangeContext & {
    onProgress: (done: number, of: number) => void;
    /** Told at most once per coupon and kind. */
    onDefect?: (defect: Defect) => void;
  },
): Promise<AuditReport> {
  const startedAt = performance.now();
  await context.shards.refresh();
  const [count] = await context.mysql.query<RowDataPacket[]>('SELECT COUNT(*) AS coupons FROM coupon');
  const of = Number(count[0]?.['coupons']);
  const findings = new Findings(context.onDefect ?? (() => undefined));
  const totals = { coupons: 0, claims: 0, outboxEntries: 0 };
  for (let shard = 0; shard < context.shards.count; shard++) {
    const shardAudit = new ShardAudit(context, findings, shard);
    for (let after = ''; ;) {
      const page = await readCoupons(context.mysql, { shard, after, limit: PAGE });
      const last = page.at(-1);
      if (last === undefined) break;
      after = last.couponId;
      totals.claims += await shardAudit.run(page);
      totals.coupons += page.length;
      context.onProgress(totals.coupons, of);
    }
    totals.outboxEntries += shardAudit.outboxEntries;
  }
  const deadLetters = await countLetters(context.mysql);
  const invariants = findings.list();
  const ok = invariants.every((invariant) => invariant.violations === 0);
  return { ok, ...totals, deadLetters, durationMs: Math.round(performance.now() - startedAt), invariants };
}

/** The audit of the coupons of one shard, under the epoch that it has when the audit begins. */
class ShardAudit {
  /** Claims, returns and changes that stand in the outbox. */
  outboxEntries = 0;
  readonly #context: ChangeContext;
  readonly #findings: Findings;
  readonly #shard: number;
  readonly #epoch: number;

  constructor(context: ChangeContext, findings: Findings, shard: number) {
    this.#context = context;
    this.#findings = findings;
    this.#shard = shard;
    this.#epoch = context.shards.epochOf(shard) ?? 0;
  }

  /** Returns the number of claims that it has seen. */
  async run(rows: readonly CouponRow[]): Promise<number> {
    const counters = new Map<CouponRow, Counters>();
    for (const row of rows) {
      const found = await this.#counters(row);
      if (found !== undefined) counters.set(row, found);
    }
    const outbox = byCoupon(await this.#claimsInOutbox());
    const letters = await readLetteredClaims(this.#context.mysql, this.#shard);
    let claims = 0;
    for (const [row, found] of counters) {
      const readAgain = (): Promise<Counters | undefined> => this.#counters(row);
      const onTheirWay = [...(outbox.get(row.couponId) ?? []), ...(letters.get(row.couponId) ?? [])];
      await new CouponAudit(this.#context, this.#findings, row, found, once(onTheirWay), readAgain).run();
      await this.#checkFence();
      claims += found.highest - found.voids;
    }
    return claims;
  }

  /** Undefined for a coupon that is asked for and not made yet: nothing can have been granted. */
  async #counters(row: CouponRow): Promise<Counters | undefined> {
    const { redis, scripts } = this.#context;
    const { couponId, appliedVersion } = row;
    const keys = couponKeys(this.#shard, couponId);
    const reply = (await runScript(
      redis,
      scripts.view,
      [fenceKey(this.#shard), keys.coupon, keys.stock, keys.claimedUser],
      [this.#epoch, couponId],
    )) as number[];
    const [code, , total = 0, remaining = 0, highest = 0, , , , version = 0, ...rest] = reply;
    const [returned = 0, returning = 0, withheld = 0, voids = 0] = rest;
    if (code === CODE.FENCED) throw this.#closed();
    const archived = code === CODE.ARCHIVED;
    const known = code === CODE.FOUND || archived;
    const held = known || (code === CODE.UNKNOWN_COUPON && appliedVersion === 0);
    const what = code === CODE.COUPON_CLOSED ? 'kept closed: its ledger cannot be right' : 'not known to Redis';
    this.#findings.check('I3', held, () => `${couponId}: ${what}`);
    return known ? { total, remaining, highest, returned, returning, version, withheld, voids, archived } : undefined;
  }

  async #claimsInOutbox(): Promise<(GrantEntry | ReturnEntry)[]> {
    const claims: (GrantEntry | ReturnEntry)[] = [];
    this.outboxEntries = 0;
    for (let after = '-'; ;) {
      const key = outboxKey(this.#shard);
      const page = (await this.#context.redis.xrange(key, after, '+', 'COUNT', PAGE)) as RawEntry[];
      const last = page.at(-1);
      if (last === undefined) return claims;
      after = `(${last[0]}`;
      const entries = page.flatMap(parseEntry);
      this.outboxEntries += entries.length;
      for (const entry of entries) {
        if (entry.kind === 'grant' || entry.kind === 'return') claims.push(entry);
      }
    }
  }

  async #checkFence(): Promise<void> {
    const { redis, scripts } = this.#context;
    const stands = await runScript(
      redis,
      scripts.fence_state,
      [fenceKey(this.#shard), outboxKey(this.#shard)],
      [this.#epoch],
    );
    if (stands !== 1) throw this.#closed();
  }

  #closed(): StampedeError {
    return new StampedeError('fenced', `Shard ${this.#shard} is closed or was opened anew; try again when it is open.`);
  }
}

/** A dead letter that is tried again stands in the outbox, too. */
function once(entries: readonly (GrantEntry | ReturnEntry)[]): (GrantEntry | ReturnEntry)[] {
  return [...new Map(entries.map((entry) => [fieldsOf(entry).join(' '), entry])).values()];
}
