// Events: a coupon opened, sold out or closed, an invariant is broken. What there is to tell is found by looking, so no event
// has to happen for a coupon to open or close. Each is written to MySQL once, together with the state that was told, and is
// sent from there (workers/jobs/deliver-events.ts).
import type { ChangeContext } from './changes.js';
import type { CouponRow } from './coupon-table.js';
import { couponRow } from './coupon-table.js';
import { couponKeys, fenceKey } from './keys.js';
import { readReconciliation } from './reconcile.js';
import { CODE } from '../lua/codes.js';
import { runScript } from '../lua/scripts.js';
import type { Queryable, ResultSetHeader, RowDataPacket } from '../platform/mysql.js';
import { inTransaction } from '../platform/mysql.js';

const PAGE = 1_000;
/** What happened longer ago is no news: a receiver that is set up late is not told of every old coupon. */
const NEWS_MS = 24 * 3_600_000;

export type EventKind = 'opened' | 'sold_out' | 'closed' | 'invariant_broken';

interface Event {
  readonly kind: EventKind;
  /** Of the coupon; for an invariant the time of the reconciliation, epoch ms. */
  readonly version: number;
  /** Epoch milliseconds. */
  readonly occurredAt: number;
  readonly about: Readonly<Record<string, unknown>>;
}

type Told = 'open' | 'sold_out' | 'closed' | 'broken';

/** Looks at every coupon and invariant, and writes down what there is to tell. Returns how many events that is. */
export async function findEvents(context: ChangeContext): Promise<number> {
  await context.shards.refresh();
  let found = await findBroken(context);
  for (let after = ''; ;) {
    const [rows] = await context.mysql.query<RowDataPacket[]>(
      `SELECT coupon.*, told.state AS told_state, told.version AS told_version FROM coupon
         LEFT JOIN event_told AS told ON told.subject = CONCAT('coupon:', coupon_id)
        WHERE coupon_id > ? AND applied_version = coupon.version
          AND NOT COALESCE(told.state = 'closed' AND told.version = coupon.version, FALSE)
        ORDER BY coupon_id LIMIT ?`,
      [after, PAGE],
    );
    const last = rows.at(-1);
    if (last === undefined) return found;
    after = String(last['coupon_id']);
    for (const row of rows) {
      const state = (row['told_state'] ?? undefined) as Told | undefined;
      found += await tellOf(context, couponRow(row), { state, version: Number(row['told_version'] ?? 0) });
    }
  }
}

async function tellOf(
  context: ChangeContext,
  row: CouponRow,
  told: { state: Told | undefined; version: number },
): Promise<number> {
  const { couponId, shard, version, opensAt, closesAt, createdAt } = row;
  const { redis, scripts, shards } = context;
  const keys = couponKeys(shard, couponId);
  const [code, refusal = 0, total = 0, remaining = 0] = (await runScript(
    redis,
    scripts.view,
    [fenceKey(shard), keys.coupon, keys.stock, keys.claimedUser],
    [shards.epochOf(shard) ?? 0, couponId],
  )) as number[];
  const state = STATE_OF_REFUSAL[refusal];
  if ((code !== CODE.FOUND && code !== CODE.ARCHIVED) || state === undefined) return 0;
  // Stock that was added may be gone again before anybody looks, so a coupon may be sold out anew.
  if (state === told.state && (state === 'open' || told.version === version)) return 0;
  const about = { couponId, total, remaining, opensAt: isoOrNull(opensAt), closesAt: isoOrNull(closesAt) };
  const event = (kind: EventKind, occurredAt: number): Event => ({ kind, version, occurredAt, about });
  const events: Event[] = [];
  const isNew = told.state === undefined || told.state === 'closed';
  if (state !== 'closed' && isNew) events.push(event('opened', Math.max(opensAt ?? 0, createdAt)));
  if (state === 'sold_out') events.push(event('sold_out', Date.now()));
  if (state === 'closed' && told.state !== 'closed') events.push(event('closed', closesAt ?? Date.now()));
  return await tell(context, `coupon:${couponId}`, { state, version }, events);
}

const STATE_OF_REFUSAL: Readonly<Record<number, Exclude<Told, 'broken'>>> = {
  0: 'open',
  [CODE.SOLD_OUT]: 'sold_out',
  [CODE.ENDED]: 'closed',
};

/** An invariant is told of when it breaks, and again only after it has held meanwhile. */
async function findBroken(context: ChangeContext): Promise<number> {
  const { mysql } = context;
  const latest = await readReconciliation(mysql);
  if (latest === undefined) return 0;
  const [rows] = await mysql.query<RowDataPacket[]>("SELECT subject FROM event_told WHERE subject LIKE 'invariant:%'");
  const broken = new Set(rows.map((row) => String(row['subject'])));
  const version = latest.finishedAt;
  let found = 0;
  for (const { name, statement, violations, examples } of latest.report.invariants) {
    const subject = `invariant:${name}`;
    if (violations === 0 && broken.has(subject)) {
      await mysql.query<ResultSetHeader>('DELETE FROM event_told WHERE subject = ?', [subject]);
    } else if (violations > 0 && !broken.has(subject)) {
      const about = { invariant: name, statement, violations, examples };
      const event: Event = { kind: 'invariant_broken', version, occurredAt: version, about };
      found += await tell(context, subject, { state: 'broken', version }, [event]);
    }
  }
  return found;
}

async function tell(
  context: ChangeContext,
  subject: string,
  told: { state: Told; version: number },
  events: readonly Event[],
): Promise<number> {
  const news = events.filter(({ occurredAt }) => occurredAt > Date.now() - NEWS_MS);
  return await inTransaction(context.mysql, async (connection) => {
    for (const event of news) await writeEvent(connection, subject, event);
    await connection.query<ResultSetHeader>('REPLACE INTO event_told VALUES (?, ?, ?)', [
      subject,
      told.state,
      told.version,
    ]);
    return news.length;
  });
}

/** Once: two instances look at the same time, and a state may come back within one version. */
async function writeEvent(connection: Queryable, subject: string, event: Event): Promise<void> {
  const { kind, version, occurredAt, about } = event;
  const eventId = `${subject.slice(subject.indexOf(':') + 1)}.${kind}.${version}`;
  const body = JSON.stringify({ eventId, kind, version, occurredAt: new Date(occurredAt).toISOString(), ...about });
  await connection.query<ResultSetHeader>(
    `INSERT INTO event VALUES (?, ?, UTC_TIMESTAMP(3), NULL) ON DUPLICATE KEY UPDATE event_id = event.event_id`,
    [eventId, Buffer.from(body)],
  );
}

/** Ids of events that were not delivered yet, the oldest first, and only while they are news. */
export async function readUndelivered(connection: Queryable, limit: number): Promise<string[]> {
  const [rows] = await connection.query<RowDataPacket[]>(
    `SELECT event_id FROM event WHERE delivered_at IS NULL AND created_at > UTC_TIMESTAMP(3) - INTERVAL ? MICROSECOND
      ORDER BY created_at LIMIT ?`,
    [NEWS_MS * 1_000, limit],
  );
  return rows.map((row) => String(row['event_id']));
}

/** What is to be sent; undefined when it was delivered, or is not known. */
export async function readEventBody(connection: Queryable, eventId: string): Promise<string | undefined> {
  const [rows] = await connection.query<RowDataPacket[]>(
    'SELECT body FROM event WHERE event_id = ? AND delivered_at IS NULL',
    [eventId],
  );
  return rows[0] && String(rows[0]['body']);
}

export async function markDelivered(connection: Queryable, eventId: string): Promise<void> {
  await connection.query<ResultSetHeader>('UPDATE event SET delivered_at = UTC_TIMESTAMP(3) WHERE event_id = ?', [
    eventId,
  ]);
}

function isoOrNull(epochMs: number | null): string | null {
  return epochMs === null ? null : new Date(epochMs).toISOString();
}
