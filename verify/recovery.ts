// What comes after the faults: waits, within a limit, until nothing is left to do, and reads the final state straight from
// MySQL and through the service's own audit.
import { setTimeout as delay } from 'node:timers/promises';
import type { AuditReport } from '../coupons/coupons.js';
import { fenceKey, outboxKey } from '../coupons/keys.js';
import { readShards } from '../coupons/shards.js';
import { countVoids } from '../coupons/withheld.js';
import { messageOf } from '../platform/errors.js';
import type { RowDataPacket } from '../platform/mysql.js';
import type { Deployment } from './deployment.js';
import type { FinalCoupon, FinalRepair, FinalState } from './history.js';
import { now } from './history.js';
import type { Instance } from './instance.js';
import { readServiceLog } from './service-log.js';

/**
 * The longest of the service's own limits on the way back is 30 s (an abandoned consumer's entries are taken over) plus
 * 5 s (how often it looks); the rest is room for a slow machine.
 */
export const RECOVERY_LIMIT_MS = 60_000;
const POLL_MS = 100;
const REQUEST_TIMEOUT_MS = 5_000;
const AUDIT_TIMEOUT_MS = 120_000;

/** Resolves when everything is ready, or when the limit is over with what is still missing. */
export async function whenRecovered(
  deployment: Deployment,
  since: number,
  signal: AbortSignal,
): Promise<FinalState['recovery']> {
  const deadline = now() + RECOVERY_LIMIT_MS;
  for (let waitedFor: string[] = []; ;) {
    const missing = await missingNow(deployment);
    const ms = Math.round(now() - since);
    if (missing.length === 0 || now() > deadline || signal.aborted) {
      return { ms, limitMs: RECOVERY_LIMIT_MS, missing, waitedFor };
    }
    waitedFor = missing;
    await delay(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
}

async function missingNow(deployment: Deployment): Promise<string[]> {
  try {
    const { redis, mysql } = deployment.observer;
    const shards = await readShards(mysql);
    const closed = shards
      .filter((shard) => shard.state !== 'open')
      .map((shard) => `shard ${shard.shard} is ${shard.state}`);
    const outboxes = await Promise.all(shards.map((shard) => redis.xlen(outboxKey(shard.shard))));
    const full = outboxes.flatMap((length, shard) => (length > 0 ? [`outbox ${shard} holds ${length} entries`] : []));
    const [pending] = await mysql.query<RowDataPacket[]>(
      'SELECT coupon_id FROM coupon WHERE applied_version < version',
    );
    const unfinished = pending.map((row) => `a change of ${String(row['coupon_id'])} is not finished`);
    const unready = await Promise.all(deployment.instances.map(unreadyOf));
    return [...closed, ...full, ...unfinished, ...unready.flat()];
  } catch (error) {
    return [messageOf(error)];
  }
}

async function unreadyOf(instance: Instance): Promise<string[]> {
  try {
    const { processes } = (await get(instance, '/v1/processes', REQUEST_TIMEOUT_MS)) as {
      processes: { name: string; state: string; unreadyReasons: string[] }[];
    };
    return processes
      .filter((process) => process.state !== 'ready')
      .map(
        ({ name, state, unreadyReasons }) =>
          `${name} of instance ${instance.number} is ${state} ${unreadyReasons.join(' ')}`,
      );
  } catch (error) {
    return [`instance ${instance.number}: ${messageOf(error)}`];
  }
}

/** Units that are withheld now, by coupon. */
export async function readWithheld({ observer }: Deployment): Promise<ReadonlyMap<string, number>> {
  const [coupons] = await observer.mysql.query<RowDataPacket[]>(
    'SELECT DISTINCT coupon_id FROM coupon_withheld WHERE released_at IS NULL ORDER BY coupon_id',
  );
  const found = new Map<string, number>();
  for (const coupon of coupons) {
    const couponId = String(coupon['coupon_id']);
    found.set(couponId, (await countVoids(observer.mysql, couponId)).withheld);
  }
  return found;
}

/**
 * True when all that anybody was told before this call is in MySQL: every shard is open on the very Redis that runs now, and
 * no outbox holds an entry. False also when it cannot be told.
 */
export async function isSettled({ observer: { redis, mysql } }: Deployment): Promise<boolean> {
  try {
    const runId = /^run_id:(\w+)/m.exec(await redis.info('server'))?.[1];
    const shards = await readShards(mysql);
    const states = await Promise.all(
      shards.map(async ({ shard }) => {
        const [fence, entries] = await Promise.all([
          redis.hmget(fenceKey(shard), 'state', 'run_id'),
          redis.xlen(outboxKey(shard)),
        ]);
        return fence[0] === 'open' && fence[1] === runId && entries === 0;
      }),
    );
    return shards.length > 0 && states.every(Boolean);
  } catch {
    return false;
  }
}

/** What MySQL holds, coupon by coupon. */
export async function readFinalCoupons({ observer }: Deployment): Promise<FinalCoupon[]> {
  const [coupons] = await observer.mysql.query<RowDataPacket[]>('SELECT coupon_id FROM coupon ORDER BY coupon_id');
  const found: FinalCoupon[] = [];
  for (const coupon of coupons) {
    const couponId = String(coupon['coupon_id']);
    const [rows] = await observer.mysql.query<RowDataPacket[]>(
      'SELECT claim_no, user_id, claimed_at, returned_at FROM coupon_claim_log WHERE coupon_id = ? ORDER BY claim_no',
      [couponId],
    );
    const [ranges] = await observer.mysql.query<RowDataPacket[]>(
      'SELECT first_no, last_no, withheld_at, released_at FROM coupon_withheld WHERE coupon_id = ? ORDER BY first_no',
      [couponId],
    );
    const [log] = await observer.mysql.query<RowDataPacket[]>(
      'SELECT idempotency_key, delta, status FROM coupon_stock_log WHERE coupon_id = ? ORDER BY version',
      [couponId],
    );
    found.push({
      couponId,
      rows: rows.map((row) => ({
        userId: String(row['user_id']),
        claimNo: Number(row['claim_no']),
        claimedAt: (row['claimed_at'] as Date).getTime(),
        returnedAt: (row['returned_at'] as Date | null)?.getTime() ?? null,
      })),
      ranges: ranges.map((range) => ({
        firstNo: Number(range['first_no']),
        lastNo: Number(range['last_no']),
        withheldAt: (range['withheld_at'] as Date).getTime(),
        releasedAt: (range['released_at'] as Date | null)?.getTime() ?? Infinity,
      })),
      stock: log.map((row) => ({
        key: String(row['idempotency_key']),
        delta: Number(row['delta']),
        applied: row['status'] === 'applied',
      })),
    });
  }
  return found;
}

/** What reconciliation put right, in all the run, by what the logs say: the service must not have needed it. */
export async function readRepairs({ instances }: Deployment): Promise<FinalRepair[]> {
  const found: FinalRepair[] = [];
  for (const { logFile } of instances) {
    for await (const { msg, kind, couponId, what } of readServiceLog(logFile)) {
      if (msg !== 'repaired' || kind === undefined) continue;
      found.push({ kind, what: `${couponId ?? ''}: ${what ?? ''}` });
    }
  }
  return found;
}

/** What the audit of each instance has to object to. */
export async function auditAll({ instances }: Deployment): Promise<string[]> {
  const found: string[] = [];
  for (const instance of instances) {
    try {
      const report = (await get(instance, '/v1/audit', AUDIT_TIMEOUT_MS)) as AuditReport;
      const broken = report.invariants.filter((invariant) => invariant.violations > 0);
      found.push(
        ...broken.map(({ name, violations, examples }) => `${name} ${violations} times: ${examples.join('; ')}`),
      );
    } catch (error) {
      found.push(`instance ${instance.number} could not audit: ${messageOf(error)}`);
    }
  }
  return found;
}

async function get(instance: Instance, path: string, limitMs: number): Promise<unknown> {
  const response = await fetch(`${instance.adminUrl}${path}`, {
    headers: { authorization: `Bearer ${instance.adminToken}` },
    signal: AbortSignal.timeout(limitMs),
  });
  const answer = await response.text();
  if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${answer}`);
  return JSON.parse(answer) as unknown;
}
