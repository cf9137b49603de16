// The checker finds each kind of broken promise where it is planted, and nothing where there is none.
import { describe, expect, it } from 'vitest';
import type { CheckName, Verdict } from '../../verify/checker.js';
import { check } from '../../verify/checker.js';
import type {
  Circumstances,
  ClaimOperation,
  FinalCoupon,
  FinalState,
  Operation,
  ReturnOperation,
} from '../../verify/history.js';
import { CREATED_KEY } from '../../verify/history.js';

const COUPON = 'planted';
const at = { answer: '200', couponId: COUPON };

function created(total: number, window: { opensAt?: number; closesAt?: number } = {}): Operation {
  const { opensAt = null, closesAt = null } = window;
  const asked = { total, opensAt, closesAt, returnable: true, invokedAt: 0, completedAt: 10 };
  return { kind: 'create', ...at, ...asked, outcome: 'done' };
}

function claim(userId: string, span: readonly [number, number], outcome: ClaimOperation['outcome']): ClaimOperation {
  const [invokedAt, completedAt] = span;
  return { kind: 'claim', couponId: COUPON, userId, instance: 1, invokedAt, completedAt, outcome };
}

function giveBack(
  userId: string,
  span: readonly [number, number],
  outcome: ReturnOperation['outcome'],
): ReturnOperation {
  const [invokedAt, completedAt] = span;
  return { kind: 'return', couponId: COUPON, userId, instance: 1, invokedAt, completedAt, outcome };
}

function back(claimNo: number): ReturnOperation['outcome'] {
  return { result: 'returned', receipt: { claimNo, claimedAt: 1_000 + claimNo }, returnedAt: 2_000 + claimNo };
}

function told(claimNo: number, status: 'claimed' | 'already_claimed' = 'claimed'): ClaimOperation['outcome'] {
  return { result: 'granted', status, receipt: { claimNo, claimedAt: 1_000 + claimNo } };
}

const refused = (code: string) => ({ result: 'refused', code }) as const;
const unknown: ClaimOperation['outcome'] = { result: 'unknown', reason: 'outcome_unknown' };

function row(claimNo: number, userId: string, returned = false) {
  return { claimNo, userId, claimedAt: 1_000 + claimNo, returnedAt: returned ? 2_000 + claimNo : null };
}

const nothingForgotten: Circumstances = {
  ...{ ack: 'fsync', redisForgets: false, forgot: [], away: [], releasedAt: null },
  settled: [100_000],
};

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
    coupons: [
      { couponId: COUPON, rows: [], ranges: [], stock: [{ key: CREATED_KEY, delta: total, applied: true }], ...coupon },
    ],
    withheldUnits: 0,
    circumstances: nothingForgotten,
    recovery: { ms: 100, limitMs: 1_000, missing: [], waitedFor: [] },
    audit: [],
    repairs: [],
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
    expect(found({ repairs: [{ kind: 'row_requeued', what: 'number 1' }] })).toEqual(['lost']);
    expect(found({ repairs: [{ kind: 'return_requeued', what: 'return of number 1' }] })).toEqual(['returned']);
    expect(found({ repairs: [{ kind: 'stock_lowered', what: 'by 1' }] })).toEqual(['audit']);
    expect(found({ ended: ['instance 1 ended by itself'] })).toEqual(['processes']);
  });
});

describe('returned claims', () => {
  const ann = [created(1), claim('ann', [20, 30], told(1)), giveBack('ann', [40, 50], back(1))];
  const rows = [row(1, 'ann', true)];

  it('free their unit, and stay returned', () => {
    const history = [
      ...ann,
      giveBack('ann', [60, 70], back(1)),
      claim('bob', [55, 56], refused('ledger_behind')),
      claim('bob', [60, 70], told(2)),
      claim('ann', [80, 90], refused('returned')),
    ];
    expect(broken(verdictOf(history, { rows: [...rows, row(2, 'bob')] }))).toEqual([]);
  });

  it('may be on their way for as long as not all is in MySQL', () => {
    const history = [...ann, claim('bob', [60, 70], refused('sold_out'))];
    expect(broken(verdictOf(history, { rows }))).toEqual([]);
    const late = [...ann, claim('bob', [100_001, 100_002], refused('sold_out'))];
    expect(broken(verdictOf(late, { rows }))).toEqual(['wrong_sold_out']);
  });

  it.each<[string, CheckName, Operation[], FinalCoupon['rows']]>([
    ['is lost', 'returned', ann, [row(1, 'ann')]],
    ['nobody asked for', 'returned', ann.slice(0, 2), rows],
    ['changes its answer', 'returned', [...ann, giveBack('ann', [60, 70], back(2))], rows],
    ['is claimed again', 'returned', [...ann, claim('ann', [60, 70], told(1, 'already_claimed'))], rows],
    [
      'frees its unit twice',
      'oversold',
      [...ann, claim('bob', [60, 70], told(2)), claim('cid', [60, 70], told(3))],
      [...rows, row(2, 'bob'), row(3, 'cid')],
    ],
    [
      'frees its unit before it was asked for',
      'oversold',
      [...ann, claim('bob', [31, 39], told(2))],
      [...rows, row(2, 'bob')],
    ],
    [
      'hears "not claimed"',
      'forgotten',
      [...ann.slice(0, 2), giveBack('ann', [40, 50], refused('not_claimed'))],
      [row(1, 'ann')],
    ],
    [
      'hears "not returnable"',
      'wrong_refusal',
      [...ann.slice(0, 2), giveBack('ann', [40, 50], refused('not_returnable'))],
      [row(1, 'ann')],
    ],
    [
      'hears "returned" and never was',
      'wrong_refusal',
      [...ann.slice(0, 2), claim('bob', [40, 50], refused('returned'))],
      [row(1, 'ann')],
    ],
    [
      'hears what the contract does not know',
      'answers',
      [...ann, giveBack('ann', [60, 70], refused('sold_out'))],
      rows,
    ],
  ])('a return that %s', (_what, check, history, final) => {
    expect(broken(verdictOf(history, { rows: final }))).toContain(check);
  });
});

describe('when Redis forgets', () => {
  const told1 = [created(2), claim('ann', [20, 30], told(1))];
  /** Redis ended at 40, an http worker of instance 1 at 35; all was in MySQL at 60. */
  const forgetful: Circumstances = {
    ...{ ack: 'redis', redisForgets: true, forgot: [40], settled: [60, 100_000], releasedAt: 80 },
    away: [{ instance: 1, from: 35, to: Infinity }],
  };
  const ranges = [{ firstNo: 1, lastNo: 2, withheldAt: 50, releasedAt: 80 }];
  const judge = (
    circumstances: Partial<Circumstances>,
    history: readonly Operation[] = told1,
    coupon: Partial<FinalCoupon> = { ranges },
  ) => verdictOf(history, coupon, { circumstances: { ...forgetful, ...circumstances } });

  it('counts a claim that is lost with the worker that told it, within the window of its level', () => {
    expect(broken(judge({}))).toEqual([]);
    expect(judge({}).lostInWindow).toBe(1);
  });

  it.each<[string, Partial<Circumstances>]>([
    ['no worker died', { away: [] }],
    ['the worker came back', { away: [{ instance: 1, from: 35, to: 70 }] }],
    ['only workers of the other instance died', { away: [{ instance: 2, from: 35, to: Infinity }] }],
    ['the worker died before the claim', { away: [{ instance: 1, from: 15, to: Infinity }] }],
    ['Redis did not end', { forgot: [] }],
    ['all was in MySQL before', { settled: [33, 60] }],
    ['Redis keeps what it answers', { redisForgets: false }],
  ])('finds a claim that is lost though %s', (_what, circumstances) => {
    expect(broken(judge(circumstances))).toEqual(['lost']);
  });

  it('finds any loss, and anything withheld, at level ledger', () => {
    expect(broken(judge({ ack: 'ledger' }))).toEqual(['lost', 'withheld']);
    expect(broken(judge({ ack: 'ledger' }, told1, { rows: [row(1, 'ann')] }))).toEqual([]);
  });

  it('knows a user who got another claim while the worker could not be heard', () => {
    const again = [...told1, claim('ann', [62, 64], told(3))];
    const away = [{ instance: 1, from: 35, to: 70 }];
    expect(broken(judge({ away }, again, { ranges, rows: [row(3, 'ann')] }))).toEqual([]);
    expect(broken(judge({ away: [] }, again, { ranges, rows: [row(3, 'ann')] }))).toEqual(['doubled', 'changed']);
  });

  it('finds an oversell that counts the lost until they are given up', () => {
    const bob = (asked: number) => [
      ...told1,
      claim('bob', [asked, asked + 2], told(3)),
      claim('cid', [asked, asked + 2], told(4)),
    ];
    const rows = [row(3, 'bob'), row(4, 'cid')];
    expect(broken(judge({}, bob(70), { ranges, rows }))).toEqual(['oversold']);
    expect(broken(judge({}, bob(82), { ranges, rows }))).toEqual([]);
  });

  it('takes no number for missing that was withheld, and "sold out" for right meanwhile', () => {
    const history = [created(2), claim('bob', [55, 60], refused('sold_out')), claim('ann', [90, 95], told(3))];
    const rows = [row(3, 'ann')];
    const circumstances = { redisForgets: false };
    expect(broken(judge(circumstances, history, { rows, ranges }))).toEqual([]);
    expect(broken(judge(circumstances, history, { rows }))).toEqual(['lost', 'wrong_sold_out']);
  });

  it('finds what is withheld after its release', () => {
    const still = [{ firstNo: 1, lastNo: 2, withheldAt: 50, releasedAt: Infinity }];
    expect(broken(judge({}, told1, { ranges: still, rows: [row(1, 'ann')] }))).toEqual(['withheld']);
  });
});
