// The public API on a free loopback port, with claims kept in a Map: enough to test the HTTP room on its own.
import { Writable } from 'node:stream';
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import type { ApiServer } from '../../../cluster/http/api-server.js';
import { createHttpServer } from '../../../cluster/http/http-server.js';
import type { HttpServerOptions } from '../../../cluster/http/http-server.js';
import { HTTP_LIMITS } from '../../../cluster/http/limits.js';
import type { HttpLimits } from '../../../cluster/http/limits.js';
import { drain, listen } from '../../../cluster/http/listener.js';
import type {
  Answer,
  ClaimOutcome,
  ClaimService,
  CouponView,
  ReturnOutcome,
} from '../../../cluster/claims/claim-service.js';
import type { ErrorCode } from '../../../platform/errors.js';
import type { Log } from '../../../platform/log.js';
import { readSettings } from '../../../platform/settings.js';
import { atEndOfFile } from '../../harness/cleanup.js';
import { holdToDescription } from './description.js';

export const OPENS_AT = Date.parse('2026-11-27T09:00:00.000Z');
export const CLAIMED_AT = Date.parse('2026-11-27T09:00:00.123Z');
export const RETURNED_AT = Date.parse('2026-11-27T10:00:00.456Z');

/** Coupons `open` and, answering what their name says, one per code. Other ids are unknown. */
export class MapClaims implements ClaimService {
  /** `coupon user` to claim number. */
  readonly given = new Map<string, number>();
  /** Keys of `given` that were given back. */
  readonly returned = new Set<string>();
  readonly refusals = new Map<string, ErrorCode>();
  reasons: string[] = [];
  /** What a claim waits for before it is decided. */
  gate: Promise<unknown> = Promise.resolve();

  claim(couponId: string, userId: string, answer: Answer): void {
    if (couponId === 'bug') throw new Error('a bug of the claim service');
    this.decide(couponId, userId).then(answer, () => answer({ status: 'refused', code: 'internal' }));
  }

  async decide(couponId: string, userId: string): Promise<ClaimOutcome> {
    await this.gate;
    const refusal = this.#refusal(couponId);
    if (refusal !== undefined) return refusal;
    const key = `${couponId} ${userId}`;
    if (this.returned.has(key)) return { status: 'refused', code: 'returned', returnedAt: RETURNED_AT };
    const earlier = this.given.get(key);
    const claimNo = earlier ?? this.given.size + 1;
    this.given.set(key, claimNo);
    const receipt = { claimNo, claimedAt: CLAIMED_AT, ack: 'fsync' as const };
    return { status: earlier === undefined ? 'claimed' : 'already_claimed', receipt };
  }

  claimAll(couponId: string, userIds: readonly string[]): Promise<ClaimOutcome[]> {
    return Promise.all(userIds.map((userId) => this.decide(couponId, userId)));
  }

  receipt(couponId: string, userId: string): Promise<ClaimOutcome> {
    const claimNo = this.given.get(`${couponId} ${userId}`);
    if (claimNo === undefined) {
      return Promise.resolve(this.#refusal(couponId) ?? { status: 'refused', code: 'not_claimed' });
    }
    const receipt = { claimNo, claimedAt: CLAIMED_AT, ack: 'fsync' as const };
    return Promise.resolve({ status: 'already_claimed', receipt });
  }

  returnClaim(couponId: string, userId: string): Promise<ReturnOutcome> {
    const key = `${couponId} ${userId}`;
    const claimNo = this.given.get(key);
    if (claimNo === undefined) {
      return Promise.resolve(this.#refusal(couponId) ?? { status: 'refused', code: 'not_claimed' });
    }
    this.returned.add(key);
    const receipt = { claimNo, claimedAt: CLAIMED_AT, ack: 'fsync' as const, returnedAt: RETURNED_AT };
    return Promise.resolve({ status: 'returned', receipt });
  }

  coupon(couponId: string): Promise<CouponView | { status: 'refused'; code: ErrorCode }> {
    const refusal = this.#refusal(couponId);
    if (refusal !== undefined) return Promise.resolve(refusal);
    return Promise.resolve({ state: 'open', total: 10, remaining: 7, opensAt: OPENS_AT, closesAt: null });
  }

  unreadyReasons(): string[] {
    return this.reasons;
  }

  #refusal(couponId: string): { status: 'refused'; code: ErrorCode; opensAt?: number } | undefined {
    if (couponId === 'open') return undefined;
    const code = this.refusals.get(couponId) ?? 'unknown_coupon';
    return code === 'not_open' ? { status: 'refused', code, opensAt: OPENS_AT } : { status: 'refused', code };
  }
}

export interface PublicApi {
  readonly port: number;
  readonly api: ApiServer;
  readonly claims: MapClaims;
  /** Every line that the server logged, parsed. */
  readonly logged: Record<string, unknown>[];
}

/** Stopped at the end of the test file. */
export async function startPublicApi(
  environment: Record<string, string> = {},
  limits: Partial<HttpLimits> = {},
  more: Pick<HttpServerOptions, 'isLate' | 'onShed'> = {},
): Promise<PublicApi> {
  const claims = new MapClaims();
  const { log, logged } = recordingLog();
  const settings = readSettings({ WEB_CONCURRENCY: '1', ...environment });
  const api = createHttpServer({
    settings,
    log,
    claims,
    limits: { ...HTTP_LIMITS, ...limits },
    isLate: () => false,
    ...more,
  });
  return { port: await listenOnFreePort(api), api, claims, logged };
}

/** Every answer is held to the OpenAPI description of the server. */
export async function listenOnFreePort(api: ApiServer): Promise<number> {
  holdToDescription(api.app);
  await listen(api.app, { host: '127.0.0.1', port: 0, hostVariable: 'HOST', portVariable: 'PORT' });
  // Past every deadline: whatever a failed test left open is cut.
  atEndOfFile(() => drain(api, Date.now()));
  return (api.app.server.address() as AddressInfo).port;
}

export function recordingLog(): { log: Log; logged: Record<string, unknown>[] } {
  const logged: Record<string, unknown>[] = [];
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      logged.push(JSON.parse(chunk.toString()) as Record<string, unknown>);
      done();
    },
  });
  return { log: pino(sink), logged };
}
