// The audit: checks invariants I1 to I6 for every coupon over Redis, outbox and MySQL, while traffic goes on. It reads only.
//
// Nothing is locked, so the order of the reads matters. For each coupon: (1) Redis' counters at one moment, (2) the outbox,
// (3) the rows of MySQL, (4) Redis' receipts. An entry leaves the outbox only after its row is committed, so every number
// that was handed out by (1) is in (2) or in (3), and every row of (3) was granted before (4). Numbers handed out after (1)
// are left to the next audit.
import { performance } from 'node:perf_hooks';
import type { AuditReport, InvariantName } from './coupons.js';
import type { ChangeContext } from './changes.js';
import type { Grant } from './claim-log.js';
import { readClaims } from './claim-log.js';
import type { CouponRow } from './coupon-table.js';
import { readCoupons } from './coupon-table.js';
import { couponKeys, fenceKey, outboxKey } from './keys.js';
import type { RawEntry } from './outbox.js';
import { parseEntry } from './outbox.js';
import { CODE } from '../lua/codes.js';
import { runScript } from '../lua/scripts.js';
import { StampedeError } from '../platform/errors.js';
import type { RowDataPacket } from '../platform/mysql.js';

const PAGE = 1_000;
const EXAMPLES_MAX = 5;

const STATEMENTS: Readonly<Record<InvariantName, string>> = {
  I1: 'Claims held never exceed the stock granted.',
  I2: 'At most one claim per coupon and user.',
  I3: 'Every claim handed out is in the ledger, or in the outbox on its way there.',
  I4: 'No row in the ledger without a grant.',
  I5: 'remaining + claimed - returned = granted.',
  I6: 'Redis and the ledger hold the same receipt for a user.',
};

interface Finding {
  checked: number;
  violations: number;
  examples: string[];
}

/** Throws `fenced` or `unavailable` when a shard cannot be read: an audit that saw half of the coupons is none. */
export async function audit(
  context: ChangeContext & { onProgress: (done: number, of: number) => void },
): Promise<AuditReport> {
  const startedAt = performance.now();
  await context.shards.refresh();
  const [count] = await context.mysql.query<RowDataPacket[]>('SELECT COUNT(*) AS coupons FROM coupon');
  const of = Number(count[0]?.['coupons']);
  const findings = new Findings();
  const totals = { coupons: 0, claims: 0, outboxEntries: 0 };
  for (let after = ''; ;) {
    const page = await readCoupons(context.mysql, { after, limit: PAGE });
    for (const row of page) {
      const seen = await new CouponAudit(context, findings, row).run();
      totals.coupons++;
      totals.claims += seen.claims;
      totals.outboxEntries += seen.outboxEntries;
      context.onProgress(totals.coupons, of);
    }
    const last = page.at(-1);
    if (last === undefined) break;
    after = last.couponId;
  }
  const invariants = findings.list();
  const ok = invariants.every((invariant) => invariant.violations === 0);
  return { ok, ...totals, durationMs: Math.round(performance.now() - startedAt), invariants };
}

class Findings {
  readonly #byName = new Map<InvariantName, Finding>();

  /** `example` says what is wrong; it is only asked for when it is. */
  check(name: InvariantName, holds: boolean, example: () => string): void {
    const finding = this.#of(name);
    finding.checked++;
    if (holds) return;
    finding.violations++;
    if (finding.examples.length < EXAMPLES_MAX) finding.examples.push(example());
  }

  list(): AuditReport['invariants'] {
    return (Object.keys(STATEMENTS) as InvariantName[]).map((name) => ({
      name,
      statement: STATEMENTS[name],
      ...this.#of(name),
    }));
  }

  #of(name: InvariantName): Finding {
    const finding = this.#byName.get(name) ?? { checked: 0, violations: 0, examples: [] };
    this.#byName.set(name, finding);
    return finding;
  }
}

interface Counters {
  readonly total: number;
  readonly remaining: number;
  readonly highest: number;
  readonly version: number;
}

class CouponAudit {
  readonly #context: ChangeContext;
  readonly #findings: Findings;
  readonly #row: CouponRow;
  /** User by claim number and claim number by user, over rows and outbox. */
  readonly #userOf = new Map<number, string>();
  readonly #numberOf = new Map<string, number>();

  constructor(context: ChangeContext, findings: Findings, row: CouponRow) {
    this.#context = context;
    this.#findings = findings;
    this.#row = row;
  }

  async run(): Promise<{ claims: number; outboxEntries: number }> {
    const { couponId } = this.#row;
    const counters = await this.#counters();
    // The coupon is asked for and not made yet: nothing can have been granted.
    if (counters === undefined) return { claims: 0, outboxEntries: 0 };
    const outbox = await this.#outbox();
    for (const grant of outbox.grants) this.#note(grant, 'outbox');
    let returned = 0;
    for (let after = 0; ;) {
      const page = await readClaims(this.#context.mysql, couponId, { after, limit: PAGE });
      const last = page.at(-1);
      if (last === undefined) break;
      for (const row of page) this.#note(row, 'ledger');
      returned += page.filter((row) => row.claimNo <= counters.highest && row.returnedAt !== null).length;
      await this.#compareReceipts(page);
      after = last.claimNo;
    }
    this.#checkNumbers(counters, returned);
    await this.#checkTotal(counters, outbox.changes);
    return { claims: counters.highest, outboxEntries: outbox.grants.length + outbox.changes.length };
  }

  async #counters(): Promise<Counters | undefined> {
    const { redis, scripts, shards } = this.#context;
    const { couponId, shard } = this.#row;
    const keys = couponKeys(shard, couponId);
    const reply = (await runScript(
      redis,
      scripts.view,
      [fenceKey(shard), keys.coupon, keys.stock, keys.claimedUser],
      [shards.epochOf(shard) ?? 0, couponId],
    )) as number[];
    const [code, , total = 0, remaining = 0, highest = 0, , , , version = 0] = reply;
    if (code === CODE.FENCED)
      throw new StampedeError('fenced', `Shard ${shard} is closed; try again when it is rebuilt.`);
    if (code !== CODE.FOUND) {
      const made = this.#row.appliedVersion > 0;
      this.#findings.check('I3', !made, () => `${couponId}: Redis does not know this coupon`);
      return undefined;
    }
    return { total, remaining, highest, version };
  }

  async #outbox(): Promise<{ grants: Grant[]; changes: number[] }> {
    const { couponId, shard } = this.#row;
    const grants: Grant[] = [];
    const changes: number[] = [];
    for (let after = '-'; ;) {
      const page = (await this.#context.redis.xrange(outboxKey(shard), after, '+', 'COUNT', PAGE)) as RawEntry[];
      const last = page.at(-1);
      if (last === undefined) return { grants, changes };
      after = `(${last[0]}`;
      for (const raw of page) {
        const entry = parseEntry(raw);
        if (entry.kind === 'poison') {
          this.#findings.check(
            'I3',
            false,
            () => `shard ${shard}: outbox entry ${entry.id} cannot be read: ${entry.reason}`,
          );
        } else if (entry.couponId === couponId) {
          if (entry.kind === 'grant') grants.push(entry);
          else changes.push(entry.version);
        }
      }
    }
  }

  /** An entry that is in the outbox and in the ledger is one claim, if both say the same. */
  #note(claim: { claimNo: number; userId: string }, where: string): void {
    const { claimNo, userId } = claim;
    const user = this.#userOf.get(claimNo) ?? userId;
    const number = this.#numberOf.get(userId) ?? claimNo;
    const holds = user === userId && number === claimNo;
    const { couponId } = this.#row;
    this.#findings.check(
      'I2',
      holds,
      () => `${couponId}: ${where} gives number ${claimNo} to "${userId}" a second time`,
    );
    this.#userOf.set(claimNo, user);
    this.#numberOf.set(userId, number);
  }

  async #compareReceipts(rows: readonly { claimNo: number; userId: string; claimedAt: number }[]): Promise<void> {
    const { couponId, shard } = this.#row;
    const key = couponKeys(shard, couponId).claimedUser;
    const receipts = await this.#context.redis.hmget(key, ...rows.map((row) => row.userId));
    rows.forEach((row, i) => {
      const receipt = receipts[i];
      this.#findings.check(
        'I4',
        receipt != null,
        () => `${couponId}: row ${row.claimNo} of "${row.userId}" was never granted`,
      );
      if (receipt == null) return;
      const same = receipt === `${row.claimNo}:${row.claimedAt}`;
      this.#findings.check(
        'I6',
        same,
        () => `${couponId}: "${row.userId}" has ${receipt} in Redis, row ${row.claimNo}`,
      );
    });
  }

  #checkNumbers(counters: Counters, returned: number): void {
    const { couponId } = this.#row;
    const { highest, remaining, total } = counters;
    for (let claimNo = 1; claimNo <= highest; claimNo++) {
      const known = this.#userOf.has(claimNo);
      this.#findings.check(
        'I3',
        known,
        () => `${couponId}: number ${claimNo} is neither in the ledger nor in the outbox`,
      );
    }
    const held = highest - returned;
    this.#findings.check('I1', held <= total, () => `${couponId}: ${held} claims held, ${total} granted`);
    const sum = remaining + held;
    this.#findings.check('I5', sum === total, () => `${couponId}: ${remaining} + ${held} = ${sum}, granted ${total}`);
  }

  /** The stock that Redis believes in must be what operators granted: the log in MySQL, up to the version that Redis has. */
  async #checkTotal(counters: Counters, inOutbox: readonly number[]): Promise<void> {
    const { couponId } = this.#row;
    const [rows] = await this.#context.mysql.query<RowDataPacket[]>(
      `SELECT version, delta, status FROM coupon_stock_log WHERE coupon_id = ? AND version <= ? ORDER BY version`,
      [couponId, counters.version],
    );
    // A change that Redis has decided and MySQL has not settled can only be the last one: it was applied if that fits.
    const settled = rows
      .filter((row) => row['status'] === 'applied')
      .reduce((sum, row) => sum + Number(row['delta']), 0);
    const open = rows.filter((row) => row['status'] === 'pending');
    const withOpen = settled + open.reduce((sum, row) => sum + Number(row['delta']), 0);
    const holds = counters.total === settled || (open.length === 1 && counters.total === withOpen);
    this.#findings.check('I5', holds, () => {
      const waiting = `${open.length} changes pending, ${inOutbox.length} in the outbox`;
      return `${couponId}: Redis has a total of ${counters.total}, the stock log ${settled} (${waiting})`;
    });
  }
}
