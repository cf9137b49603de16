// The checker finds each kind of broken promise where it is planted, and nothing where there is none.
import { describe, expect, it } from 'vitest';
import type { CheckName, Verdict } from '../../verify/checker.js';
import { check } from '../../verify/checker.js';
import type { ClaimOperation, FinalCoupon, FinalState, Operation } from '../../verify/history.js';
import { CREATED_KEY } from '../../verify/history.js';

const COUPON = 'planted';
const at = { answer: '200', couponId: COUPON };

function created(total: number, window: { opensAt?: number; closesAt?: number } = {}): Operation {
  const { opensAt = null, closesAt = null } = window;
  return { kind: 'create', ...at, total, opensAt, closesAt, invokedAt: 0, completedAt: 10, outcome: 'done' };
}

function claim(userId: string, span: readonly [number, number], outcome: ClaimOperation['outcome']): ClaimOperation {
  const [invokedAt, completedAt] = span;
  return { kind: 'claim', couponId: COUPON, userId, instance: 1, invokedAt, completedAt, outcome };
}

function told(claimNo: number, status: 'claimed' | 'already_claimed' = 'claimed'): ClaimOperation['outcome'] {
  return { result: 'granted', status, receipt: { claimNo, claimedAt: 1_000 + claimNo } };
}

const refused = (code: string): ClaimOperation['outcome'] => ({ result: 'refused', code });
const unknown: ClaimOperation['outcome'] = { result: 'unknown', reason: 'outcome_unknown' };

function row(claimNo: number, userId: string) {
  return { claimNo, userId, claimedAt: 1_000 + claimNo };
}

function stock(key: string, delta: number, span: readonly [number, number], outcome: 'applied' | 'below_claimed') {
  return { kind: 'stock', ...at, key, delta, invokedAt: span[0], completedAt: span[1], outcome } as const;
}

function verdictOf(
  history: readonly Operation[],
  coupon: Partial<FinalCoupon>,
  more: Partial<FinalState> = {},
): Verdict {
  const total = history.find((operation) => operation.kind === 'create')?.total ?? 0;
  return check(history, {
    coupons: [{ couponId: COUPON, rows: [], stock: [{ key: CREATED_KEY, delta: total, applied: true }], ...coupon }],
    recovery: { ms: 100, limitMs: 1_000, missing: [], waitedFor: [] },
    audit: [],
    ended: [],
    ...more,
  });
}

function broken(verdict: Verdict): CheckName[] {
  return verdict.checks.filter((result) => result.violations > 0).map((result) => result.name);
}

describe('a clean history passes', () => {
  it('with winners, repeats, losers, lost answers, a restock and a pause', () => {
    const history: Operation[] = [
      created(2),
      claim('ann', [20, 30], told(1)),
      claim('ann', [40, 50], told(1, 'already_claimed')),
      claim('bob', [20, 60], unknown),
      claim('cid', [70, 80], refused('sold_out')),
      claim('bob', [90, 99], told(2, 'already_claimed')),
      stock('more', 1, [100, 110], 'applied'),
      { kind: 'pause', ...at, invokedAt: 120, completedAt: 130, outcome: 'done' },
      claim('cid', [140, 150], refused('paused')),
      claim('ann', [140, 150], told(1, 'already_claimed')),
      { kind: 'resume', ...at, invokedAt: 160, completedAt: 170, outcome: 'done' },
      claim('cid', [180, 190], told(3)),
      stock('less', -3, [200, 210], 'below_claimed'),
    ];
    const verdict = verdictOf(history, {
      rows: [row(1, 'ann'), row(2, 'bob'), row(3, 'cid')],
      stock: [
        { key: CREATED_KEY, delta: 2, applied: true },
        { key: 'more', delta: 1, applied: true },
        { key: 'less', delta: -3, applied: false },
      ],
    });
    expect(broken(verdict)).toEqual([]);
    expect(verdict.ok).toBe(true);
    expect(verdict.recovered).toBe(1);
  });

  it('where the times leave it open whether stock was left, or who came first', () => {
    const history = [
      created(1),
      claim('ann', [20, 90], told(1)),
      claim('bob', [30, 40], refused('sold_out')),
      stock('more', 5, [35, 60], 'applied'),
      claim('bob', [50, 55], refused('sold_out')),
      claim('bob', [95, 97], told(2)),
    ];
    const verdict = verdictOf(history, {
      rows: [row(1, 'ann'), row(2, 'bob')],
      stock: [
        { key: CREATED_KEY, delta: 1, applied: true },
        { key: 'more', delta: 5, applied: true },
      ],
    });
    expect(broken(verdict)).toEqual([]);
  });
});

describe('finds', () => {
  const ann = [created(5), claim('ann', [20, 30], told(1))];

  it('a lost claim: a receipt without a row', () => {
    expect(broken(verdictOf(ann, {}))).toEqual(['lost']);
  });

  it('a lost claim: a number without a row', () => {
    const history = [...ann, claim('bob', [20, 30], told(3))];
    expect(broken(verdictOf(history, { rows: [row(1, 'ann'), row(3, 'bob')] }))).toEqual(['lost']);
  });

  it('a user with two claims', () => {
    const history = [...ann, claim('ann', [40, 50], told(2))];
    const rows = [row(1, 'ann'), row(2, 'ann')];
    expect(broken(verdictOf(history, { rows }))).toContain('doubled');
  });

  it('a number given to two users', () => {
    const history = [...ann, claim('bob', [40, 50], told(1))];
    expect(broken(verdictOf(history, { rows: [row(1, 'ann')] }))).toEqual(['lost', 'doubled']);
  });

  it('a row that nobody asked for', () => {
    expect(broken(verdictOf(ann, { rows: [row(1, 'ann'), row(2, 'eve')] }))).toEqual(['unexpected']);
  });

  it('a changed receipt', () => {
    const history = [...ann, claim('ann', [40, 50], told(2, 'already_claimed'))];
    expect(broken(verdictOf(history, { rows: [row(1, 'ann')] }))).toEqual(['changed']);
  });

  it('a row that differs from the receipt', () => {
    const rows = [{ ...row(1, 'ann'), claimedAt: 7 }];
    expect(broken(verdictOf(ann, { rows }))).toEqual(['changed']);
  });

  it('a winner who is told to have none', () => {
    const history = [created(1), claim('ann', [20, 30], told(1)), claim('ann', [40, 50], refused('sold_out'))];
    expect(broken(verdictOf(history, { rows: [row(1, 'ann')] }))).toEqual(['forgotten']);
  });

  it('an oversell, counting what clients were told and not only what is stored', () => {
    const history = [created(1), claim('ann', [20, 30], told(1)), claim('bob', [20, 30], told(2))];
    expect(broken(verdictOf(history, { rows: [row(1, 'ann'), row(2, 'bob')] }))).toEqual(['oversold']);
    expect(broken(verdictOf(history, { rows: [row(1, 'ann')] }))).toEqual(['lost', 'oversold']);
  });

  it('an oversell that a later restock covers up', () => {
    const history = [
      created(1),
      claim('ann', [20, 30], told(1)),
      claim('bob', [20, 30], told(2)),
      stock('more', 5, [40, 50], 'applied'),
    ];
    const log = [
      { key: CREATED_KEY, delta: 1, applied: true },
      { key: 'more', delta: 5, applied: true },
    ];
    expect(broken(verdictOf(history, { rows: [row(1, 'ann'), row(2, 'bob')], stock: log }))).toEqual(['oversold']);
  });

  it('a wrong sold-out', () => {
    const history = [...ann, claim('bob', [40, 50], refused('sold_out'))];
    expect(broken(verdictOf(history, { rows: [row(1, 'ann')] }))).toEqual(['wrong_sold_out']);
  });

  it('a wrong sold-out after a restock', () => {
    const history = [
      created(1),
      claim('ann', [20, 30], told(1)),
      stock('more', 1, [40, 50], 'applied'),
      claim('bob', [60, 70], refused('sold_out')),
    ];
    const log = [
      { key: CREATED_KEY, delta: 1, applied: true },
      { key: 'more', delta: 1, applied: true },
    ];
    expect(broken(verdictOf(history, { rows: [row(1, 'ann')], stock: log }))).toEqual(['wrong_sold_out']);
  });

  it('less stock refused though it was there', () => {
    const history = [...ann, stock('less', -2, [40, 50], 'below_claimed')];
    const log = [
      { key: CREATED_KEY, delta: 5, applied: true },
      { key: 'less', delta: -2, applied: false },
    ];
    expect(broken(verdictOf(history, { rows: [row(1, 'ann')], stock: log }))).toEqual(['wrong_sold_out']);
  });

  it('a refusal that had granted', () => {
    const history = [
      created(5),
      claim('ann', [20, 30], refused('fenced')),
      claim('ann', [40, 50], told(1, 'already_claimed')),
    ];
    expect(broken(verdictOf(history, { rows: [row(1, 'ann')] }))).toEqual(['refused_but_granted']);
  });

  it('a success while the coupon was paused', () => {
    const history: Operation[] = [
      created(5),
      { kind: 'pause', ...at, invokedAt: 20, completedAt: 30, outcome: 'done' },
      claim('ann', [40, 50], told(1)),
      { kind: 'resume', ...at, invokedAt: 60, completedAt: 70, outcome: 'done' },
    ];
    expect(broken(verdictOf(history, { rows: [row(1, 'ann')] }))).toEqual(['outside']);
  });

  it('a success outside the window', () => {
    const history = [created(5, { opensAt: 1_002 }), claim('ann', [20, 30], told(1)), claim('bob', [20, 30], told(2))];
    expect(broken(verdictOf(history, { rows: [row(1, 'ann'), row(2, 'bob')] }))).toEqual(['outside']);
  });

  it.each(['paused', 'not_open', 'ended', 'unknown_coupon'])('a wrong "%s"', (code) => {
    const history = [created(5), claim('ann', [20, 30], refused(code)), claim('ann', [40, 50], told(1))];
    expect(broken(verdictOf(history, { rows: [row(1, 'ann')] }))).toContain('wrong_refusal');
  });

  it('a change of stock that was answered and is not there, and one that is there twice', () => {
    const history = [created(5), stock('more', 2, [20, 30], 'applied')];
    expect(broken(verdictOf(history, {}))).toEqual(['stock']);
    const twice = { key: 'more', delta: 2, applied: true };
    const log = [{ key: CREATED_KEY, delta: 5, applied: true }, twice, twice];
    expect(broken(verdictOf(history, { stock: log }))).toEqual(['stock']);
  });

  it('an answer that the contract does not know, and a user without a final one', () => {
    const odd = { result: 'unknown', reason: 'status 500: {}' } as const;
    const history = [created(5), claim('ann', [20, 30], odd), claim('ann', [40, 50], refused('sold_out'))];
    expect(broken(verdictOf(history, {}))).toEqual(['wrong_sold_out', 'answers']);
    expect(broken(verdictOf([created(5), claim('ann', [20, 30], unknown)], {}))).toEqual(['answers']);
  });

  it('an operator who is told something unexpected', () => {
    const asked = { kind: 'stock', ...at, key: 'more', delta: 1, invokedAt: 20, completedAt: 30 } as const;
    const answered = (answer: string): Operation[] => [created(5), { ...asked, outcome: 'unknown', answer }];
    expect(broken(verdictOf(answered('500 internal'), {}))).toEqual(['answers']);
    expect(broken(verdictOf(answered('503 fenced'), {}))).toEqual([]);
  });

  it('what the run itself found', () => {
    const found = (more: Partial<FinalState>) => broken(verdictOf([created(5)], {}, more));
    expect(found({ recovery: { ms: 1_001, limitMs: 1_000, missing: [], waitedFor: [] } })).toEqual(['recovery']);
    expect(found({ recovery: { ms: 5, limitMs: 1_000, missing: ['shard 3 is fenced'], waitedFor: [] } })).toEqual([
      'recovery',
    ]);
    expect(found({ audit: ['I5 once'] })).toEqual(['audit']);
    expect(found({ ended: ['instance 1 ended by itself'] })).toEqual(['processes']);
  });
});
