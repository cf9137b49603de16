// The admin API on a free loopback port, with coupons kept in a Map: enough to test its HTTP side on its own.
import type { AdminCoupons } from '../../../cluster/admin/admin-server.js';
import { createAdminServer } from '../../../cluster/admin/admin-server.js';
import type { ProcessStatus } from '../../../cluster/actor.js';
import type {
  AuditReport,
  ClaimFilter,
  ClaimRow,
  CouponDetails,
  NewCoupon,
  StockChange,
} from '../../../coupons/coupons.js';
import type { DeadLetter } from '../../../coupons/dead-letters.js';
import type { ShardRow } from '../../../coupons/shards.js';
import { describePublicApi } from '../../../cluster/http/public-description.js';
import { StampedeError } from '../../../platform/errors.js';
import type { Snapshot } from '../../../platform/metrics/snapshot.js';
import { readSettings } from '../../../platform/settings.js';
import { listenOnFreePort, recordingLog } from '../http/public-api.js';
import { exchange } from '../http/raw-http.js';
import type { RawAnswer, RequestParts } from '../http/raw-http.js';

/** A name with a dot under which the API may be asked for. */
export const ALLOWED_HOST = 'admin.stampede.example';
export const ADMIN_TOKEN = 'admin-token-of-the-tests';
export const CREATED_AT = Date.parse('2026-11-20T08:00:00.000Z');

/** Follows the interface closely enough for its callers; the rules of stock are left to the real one. */
export class MapCoupons implements AdminCoupons {
  readonly coupons = new Map<string, CouponDetails>();
  readonly adjustments = new Map<string, StockChange>();
  rows: ClaimRow[] = [];
  letters: DeadLetter[] = [];
  shardRows: readonly ShardRow[] = [
    { shard: 0, epoch: 4, gatheredEpoch: 3, state: 'open' },
    { shard: 1, epoch: 7, gatheredEpoch: 6, state: 'rebuilding' },
  ];
  redisAway = false;
  /** Pages of `claims` that were read. */
  pagesRead = 0;
  auditOk = true;

  create({ ack = 'fsync', ...coupon }: NewCoupon): Promise<{ created: boolean; coupon: CouponDetails }> {
    const known = this.coupons.get(coupon.couponId);
    if (known !== undefined) {
      if (known.total !== coupon.total) return Promise.reject(new StampedeError('coupon_exists'));
      return Promise.resolve({ created: false, coupon: known });
    }
    const { total } = coupon;
    const details: CouponDetails = {
      ...coupon,
      ack,
      paused: false,
      version: 1,
      shard: 3,
      createdAt: CREATED_AT,
      archivedAt: null,
      live: this.redisAway ? null : { state: 'open', remaining: total, claimed: 0, returned: 0, ceiling: total },
      ledger: { claimed: 0, returned: 0 },
      withheld: 0,
    };
    this.coupons.set(coupon.couponId, details);
    return Promise.resolve({ created: true, coupon: details });
  }

  show(couponId: string): Promise<CouponDetails> {
    const coupon = this.coupons.get(couponId);
    if (coupon === undefined) return Promise.reject(new StampedeError('unknown_coupon'));
    return Promise.resolve(coupon);
  }

  list({ after, limit }: { after: string; limit: number }): Promise<{ coupons: CouponDetails[]; next: string | null }> {
    const rest = [...this.coupons.values()].filter(({ couponId }) => couponId > after);
    const coupons = rest.sort((a, b) => (a.couponId < b.couponId ? -1 : 1)).slice(0, limit);
    const next = rest.length > limit ? (coupons.at(-1)?.couponId ?? null) : null;
    return Promise.resolve({ coupons, next });
  }

  newest(limit: number): ReturnType<AdminCoupons['newest']> {
    return Promise.resolve([...this.coupons.values()].slice(0, limit));
  }

  pause(couponId: string): Promise<CouponDetails> {
    return this.#change(couponId, { paused: true });
  }

  resume(couponId: string): Promise<CouponDetails> {
    return this.#change(couponId, { paused: false });
  }

  async setWindow(
    couponId: string,
    window: { opensAt?: number | null | undefined; closesAt?: number | null | undefined },
  ): Promise<CouponDetails> {
    const { opensAt, closesAt } = await this.show(couponId);
    const next = {
      opensAt: window.opensAt === undefined ? opensAt : window.opensAt,
      closesAt: window.closesAt === undefined ? closesAt : window.closesAt,
    };
    if (next.opensAt !== null && next.closesAt !== null && next.closesAt <= next.opensAt) {
      throw new StampedeError('invalid_window');
    }
    return this.#change(couponId, next);
  }

  async adjust(couponId: string, change: StockChange): ReturnType<AdminCoupons['adjust']> {
    const { total, version } = await this.show(couponId);
    if (total + change.delta < 0) throw new StampedeError('below_claimed');
    this.adjustments.set(change.idempotencyKey, change);
    const coupon = await this.#change(couponId, { total: total + change.delta });
    return { adjustment: { ...change, couponId, version: version + 1, requestedAt: CREATED_AT }, coupon };
  }

  async claims(couponId: string, { userId, claimNo, after, limit }: ClaimFilter): ReturnType<AdminCoupons['claims']> {
    await this.show(couponId);
    this.pagesRead++;
    const found = this.rows.filter(
      (row) =>
        row.couponId === couponId &&
        row.claimNo > after &&
        (userId === undefined || row.userId === userId) &&
        (claimNo === undefined || row.claimNo === claimNo),
    );
    return { claims: found.slice(0, limit), next: found.length > limit ? (found[limit - 1]?.claimNo ?? null) : null };
  }

  shards(): ReturnType<AdminCoupons['shards']> {
    return Promise.resolve(this.shardRows);
  }

  rebuildShard(shard: number): ReturnType<AdminCoupons['rebuildShard']> {
    const row = this.shardRows.find((candidate) => candidate.shard === shard);
    if (row === undefined) return Promise.reject(new StampedeError('not_found'));
    // The next look finds it rebuilt.
    const rebuilt: ShardRow = { ...row, epoch: row.epoch + 1, state: 'open' };
    this.shardRows = this.shardRows.map((candidate) => (candidate === row ? rebuilt : candidate));
    return Promise.resolve({ ...row, state: 'fenced' });
  }

  releaseWithheld(couponId: string): Promise<CouponDetails> {
    return this.#change(couponId, { withheld: 0 });
  }

  audit(): Promise<AuditReport> {
    const violations = this.auditOk ? 0 : 2;
    return Promise.resolve({
      ok: this.auditOk,
      coupons: 1,
      claims: 10,
      outboxEntries: 0,
      deadLetters: 0,
      durationMs: 1.5,
      invariants: [
        {
          name: 'I1',
          statement: 'Claims held never exceed the stock granted.',
          checked: 1,
          violations,
          examples: this.auditOk ? [] : ['summer: 12 claims of 10 units'],
        },
      ],
    });
  }

  async reconcile(): ReturnType<AdminCoupons['reconcile']> {
    const what = 'remaining stock lowered by 2 to 0';
    return { report: await this.audit(), repairs: [{ kind: 'stock_lowered', couponId: 'summer', what }] };
  }

  readonly deadLetters: AdminCoupons['deadLetters'] = {
    list: ({ after, limit }) => {
      const rest = this.letters.filter(({ id }) => id > after);
      const next = rest.length > limit ? (rest[limit - 1]?.id ?? null) : null;
      return Promise.resolve({ letters: rest.slice(0, limit), next });
    },
    retry: (id) => {
      const letter = this.letters.find((one) => one.id === id);
      if (letter === undefined) return Promise.reject(new StampedeError('unknown_dead_letter'));
      if (letter.status === 'parked') return Promise.reject(new StampedeError('dead_letter_refused', letter.reason));
      this.letters = this.letters.filter((one) => one !== letter);
      return Promise.resolve();
    },
  };

  unreadyReasons(): string[] {
    return this.redisAway ? ['redis_unavailable'] : [];
  }

  async #change(couponId: string, change: Partial<CouponDetails>): Promise<CouponDetails> {
    const before = await this.show(couponId);
    const coupon = { ...before, ...change, version: before.version + 1 };
    this.coupons.set(couponId, coupon);
    return coupon;
  }
}

export function letterOf(id: number, status: DeadLetter['status'] = 'retrying'): DeadLetter {
  return {
    ...{ id, shard: 3, kind: 'grant', couponId: 'sale', claimNo: id, userId: `user-${id}`, status, attempts: 1 },
    fields: ['kind', 'grant', 'coupon', 'sale', 'no', String(id)],
    reason: 'Data too long',
    nextAttemptAt: status === 'parked' ? null : CREATED_AT,
    createdAt: CREATED_AT,
  };
}

export interface AdminApi {
  readonly port: number;
  readonly coupons: MapCoupons;
  readonly logged: Record<string, unknown>[];
  readonly cluster: { processes: () => Promise<ProcessStatus[]>; metrics: () => Promise<Snapshot[]> };
  /** One request with the right token. */
  readonly ask: (method: string, path: string, body?: unknown, headers?: RequestParts['headers']) => Promise<RawAnswer>;
}

/** Stopped at the end of the test file. */
export async function startAdminApi(socketFolder = '/nowhere'): Promise<AdminApi> {
  const coupons = new MapCoupons();
  const { log, logged } = recordingLog();
  const cluster = {
    processes: (): Promise<ProcessStatus[]> => Promise.resolve([]),
    metrics: (): Promise<Snapshot[]> => Promise.resolve([]),
  };
  const server = createAdminServer({
    ...{ adminToken: ADMIN_TOKEN, log, coupons, cluster, socketFolder },
    allowedHosts: [ALLOWED_HOST],
    describePublicApi: () => describePublicApi(readSettings({}), log),
  });
  const port = await listenOnFreePort(server);
  return {
    port,
    coupons,
    logged,
    cluster,
    ask: (method, path, body, headers = []) =>
      exchange(port, {
        method,
        path,
        headers: [
          ['Authorization', `Bearer ${ADMIN_TOKEN}`],
          ...(body === undefined ? [] : [['Content-Type', 'application/json'] as const]),
          ...headers,
        ],
        ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      }),
  };
}
