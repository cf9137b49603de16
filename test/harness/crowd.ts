// A crowd of users in front of the public API: it asks, remembers what each user was told, and compares that with the
// ledger. What counts is what clients heard, not what is stored.
import { Pool } from 'undici';
import { expect } from 'vitest';
import type { Pool as MysqlPool, RowDataPacket } from '../../platform/mysql.js';

const REQUEST_TIMEOUT_MS = 60_000;

export interface Receipt {
  readonly claimNo: number;
  readonly claimedAt: string;
}

export class Crowd {
  /** Every receipt that a user was given, in order. */
  readonly receipts = new Map<string, Receipt[]>();
  /** How often each answer was heard: `201 claimed`, `409 sold_out`, `503 ledger_behind`, … */
  readonly heard = new Map<string, number>();
  /** Requests that got no answer: the connection broke. */
  readonly unanswered: { readonly userId: string; readonly error: string }[] = [];
  readonly #couponId: string;
  readonly #http: Pool;
  #closed = false;

  constructor(url: string, couponId: string, connections: number) {
    this.#couponId = couponId;
    this.#http = new Pool(url, { connections, headersTimeout: REQUEST_TIMEOUT_MS, bodyTimeout: REQUEST_TIMEOUT_MS });
  }

  /** One request; resolves with what was heard. */
  async ask(userId: string): Promise<string> {
    let heard: string;
    try {
      const path = `/v1/coupons/${this.#couponId}/claims`;
      const response = await this.#http.request({ method: 'POST', path, headers: { 'x-user-id': userId } });
      const body = (await response.body.json()) as { status?: string; code?: string } & Receipt;
      heard = `${response.statusCode} ${body.code ?? body.status ?? ''}`;
      if (response.statusCode < 300) this.#remember(userId, { claimNo: body.claimNo, claimedAt: body.claimedAt });
    } catch (error) {
      heard = 'no answer';
      this.unanswered.push({ userId, error: error instanceof Error ? error.message : String(error) });
    }
    this.heard.set(heard, (this.heard.get(heard) ?? 0) + 1);
    return heard;
  }

  /** Every user asks `times` times, all at once as far as the connections go. */
  async stampede(userIds: readonly string[], times: number): Promise<void> {
    const rounds = Array.from({ length: times }, () => userIds);
    await Promise.all(rounds.flat().map((userId) => this.ask(userId)));
  }

  /** Each user asks again and again until the answer is final: a receipt, or a refusal that is not a 503. */
  async insist(userIds: readonly string[]): Promise<void> {
    await Promise.all(
      userIds.map(async (userId) => {
        for (let heard = ''; heard === '' || heard === 'no answer' || heard.startsWith('503');) {
          // What nobody answers any more fails at once, and would be asked for ever in the same turn.
          if (this.#closed) throw new Error(`the crowd was closed, and ${userId} had heard nothing final: ${heard}`);
          heard = await this.ask(userId);
        }
      }),
    );
  }

  winners(): string[] {
    return [...this.receipts.keys()];
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#http.destroy();
  }

  /** Fails unless every user was given one and the same receipt, however often, and no number went to two users. */
  expectConsistentReceipts(): void {
    const numbers = new Set<number>();
    for (const [userId, receipts] of this.receipts) {
      const different = new Set(receipts.map((receipt) => `${receipt.claimNo} ${receipt.claimedAt}`));
      expect([userId, ...different]).toHaveLength(2);
      numbers.add(receipts[0]?.claimNo ?? 0);
    }
    expect(numbers.size).toBe(this.receipts.size);
  }

  /** Fails unless the ledger holds a row for every receipt that was given, and numbers 1, 2, 3 … without a gap. */
  async expectInLedger(mysql: MysqlPool): Promise<void> {
    const [rows] = await mysql.query<RowDataPacket[]>(
      'SELECT claim_no, user_id, claimed_at FROM coupon_claim_log WHERE coupon_id = ? ORDER BY claim_no',
      [this.#couponId],
    );
    expect(rows.map((row) => Number(row['claim_no']))).toEqual(rows.map((_, i) => i + 1));
    const inLedger = new Map(
      rows.map((row) => [
        String(row['user_id']),
        { claimNo: Number(row['claim_no']), claimedAt: (row['claimed_at'] as Date).toISOString() },
      ]),
    );
    const missing = [...this.receipts].filter(([userId, [receipt]]) => {
      const row = inLedger.get(userId);
      return row?.claimNo !== receipt?.claimNo || row?.claimedAt !== receipt?.claimedAt;
    });
    expect(missing).toEqual([]);
  }

  #remember(userId: string, receipt: Receipt): void {
    const known = this.receipts.get(userId);
    if (known === undefined) this.receipts.set(userId, [receipt]);
    else known.push(receipt);
  }
}

export function users(count: number, prefix = 'user'): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}-${i}`);
}
