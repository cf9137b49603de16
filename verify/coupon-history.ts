// One coupon's part of a history, arranged for the questions of the checks: who asked what, and what was certainly or
// possibly true between two moments. Pure. An operation takes effect at some moment between asking and answer; one
// without an answer at any moment after it was asked. "Certainly" and "possibly" below follow from that alone.
import type {
  ClaimOperation,
  CreateOperation,
  FinalCoupon,
  FinalRow,
  Operation,
  OperatorOperation,
  ReturnOperation,
  StockOperation,
  SwitchOperation,
} from './history.js';
import { CREATED_KEY } from './history.js';
import type { Losses } from './losses.js';

/** How long a pause or resume without an answer may still be on its way: far longer than any time limit of the service. */
const LINGER_MS = 60_000;

/** Times in MySQL are by its clock, on the same machine. */
export const CLOCK_TOLERANCE_MS = 1_000;

/** A change of stock that took effect, and when it can have done so. */
interface StockEffect {
  readonly delta: number;
  readonly earliest: number;
  readonly latest: number;
}

export interface Span {
  readonly from: number;
  readonly to: number;
}

export class CouponHistory {
  readonly couponId: string;
  readonly created: CreateOperation | undefined;
  readonly claims: readonly ClaimOperation[];
  /** By user, each in the order of asking. */
  readonly byUser: ReadonlyMap<string, readonly ClaimOperation[]>;
  readonly returnsByUser: ReadonlyMap<string, readonly ReturnOperation[]>;
  readonly stock: readonly StockOperation[];
  /** Everything that operators asked for. */
  readonly changes: readonly OperatorOperation[];
  readonly final: FinalCoupon;
  readonly rowOf: ReadonlyMap<string, FinalRow>;
  readonly losses: Losses;
  readonly #switches: readonly SwitchOperation[];
  readonly #effects: readonly StockEffect[];
  /** For each user who took a unit, the earliest moment at which it can have been granted; ascending. */
  readonly #grants: readonly number[];
  /** For each returned unit, the moment from which it was certainly back in stock. */
  readonly #back: readonly number[];

  constructor(couponId: string, operations: readonly Operation[], final: FinalCoupon, losses: Losses) {
    const inOrder = [...operations].sort((a, b) => a.invokedAt - b.invokedAt);
    this.couponId = couponId;
    this.final = final;
    this.losses = losses;
    this.rowOf = new Map(final.rows.map((row) => [row.userId, row]));
    this.claims = inOrder.filter((operation) => operation.kind === 'claim');
    this.stock = inOrder.filter((operation) => operation.kind === 'stock');
    this.changes = inOrder.filter((operation) => operation.kind !== 'claim' && operation.kind !== 'return');
    const returns = inOrder.filter((operation) => operation.kind === 'return');
    this.returnsByUser = groupBy(returns, (operation) => operation.userId);
    this.#switches = inOrder.filter(
      (operation): operation is SwitchOperation => operation.kind === 'pause' || operation.kind === 'resume',
    );
    const creations = inOrder.filter((operation) => operation.kind === 'create');
    const [first] = creations;
    const done = creations.find((operation) => operation.outcome === 'done');
    this.created = first && { ...first, completedAt: done?.completedAt ?? Infinity };
    this.byUser = groupBy(this.claims, (claim) => claim.userId);
    this.#effects = final.stock.filter((change) => change.applied).map((change) => this.#effectOf(change));
    const takers = new Set(this.rowOf.keys());
    // What Redis has forgotten had taken a unit before, answered or not.
    if (losses.possible) {
      for (const [user, claims] of this.byUser) if (claims.some(mayHaveGranted)) takers.add(user);
    }
    this.#grants = [...takers].map((user) => earliestGrant(this.byUser.get(user) ?? [])).sort((a, b) => a - b);
    this.#back = final.rows
      .filter((row) => row.returnedAt !== null)
      .map((row) => losses.settledAfter(lastReturn(this.returnsByUser.get(row.userId) ?? [])));
  }

  /** Units granted to the coupon in the end. */
  get total(): number {
    return this.#effects.reduce((sum, effect) => sum + effect.delta, 0);
  }

  /** Units that the coupon can have had at this moment at the most. */
  totalAtMost(moment: number): number {
    return this.#sum((effect) => (effect.delta > 0 ? effect.earliest <= moment : effect.latest < moment));
  }

  /** Units that were certainly left at every moment of the span; 0 or less: it cannot be told. */
  remainingAtLeast({ from, to }: Span): number {
    const total = this.#sum((effect) => (effect.delta > 0 ? effect.latest <= from : effect.earliest <= to));
    const back = this.#back.filter((moment) => moment <= from).length;
    return total + back - this.#grantsBefore(to) - this.#withheld(from, to);
  }

  /** Units that may have been withheld at some moment of the span. */
  #withheld(from: number, to: number): number {
    return this.final.ranges
      .filter((range) => range.withheldAt <= to + CLOCK_TOLERANCE_MS && range.releasedAt >= from - CLOCK_TOLERANCE_MS)
      .reduce((sum, { firstNo, lastNo }) => {
        const rows = this.final.rows.filter(({ claimNo }) => firstNo <= claimNo && claimNo <= lastNo).length;
        return sum + lastNo - firstNo + 1 - rows;
      }, 0);
  }

  /** Spans in which the coupon was certainly paused, or certainly not. */
  certainly(state: 'paused' | 'open'): Span[] {
    const spans: Span[] = [];
    const makesIt = state === 'paused' ? 'pause' : 'resume';
    if (state === 'open' && this.created !== undefined) {
      spans.push({ from: this.created.completedAt, to: this.#next(-Infinity, 'pause') });
    }
    let clearFrom = -Infinity;
    for (const operation of this.#switches) {
      if (operation.kind !== makesIt) {
        if (operation.outcome === 'unknown') clearFrom = Math.max(clearFrom, operation.completedAt + LINGER_MS);
      } else if (operation.outcome === 'done') {
        const to = this.#next(operation.invokedAt, makesIt === 'pause' ? 'resume' : 'pause');
        spans.push({ from: Math.max(operation.completedAt, clearFrom), to });
      }
    }
    return spans.filter((span) => span.from < span.to);
  }

  #next(after: number, kind: 'pause' | 'resume'): number {
    return this.#switches.find((other) => other.kind === kind && other.invokedAt > after)?.invokedAt ?? Infinity;
  }

  #sum(counts: (effect: StockEffect) => boolean): number {
    return this.#effects.filter(counts).reduce((sum, effect) => sum + effect.delta, 0);
  }

  #grantsBefore(moment: number): number {
    let [low, high] = [0, this.#grants.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#grants[middle] ?? Infinity) < moment) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #effectOf({ key, delta }: FinalCoupon['stock'][number]): StockEffect {
    if (key === CREATED_KEY) {
      return {
        delta,
        earliest: this.created?.invokedAt ?? -Infinity,
        latest: this.created?.completedAt ?? Infinity,
      };
    }
    const asked = this.stock.filter((operation) => operation.key === key);
    const answered = asked.filter((operation) => operation.outcome === 'applied');
    return {
      delta,
      earliest: asked[0]?.invokedAt ?? -Infinity,
      latest: Math.min(Infinity, ...answered.map((operation) => operation.completedAt)),
    };
  }
}

/** Whether this operation can be the one that granted the claim. */
export function mayHaveGranted({ outcome }: ClaimOperation): boolean {
  return outcome.result === 'unknown' || (outcome.result === 'granted' && outcome.status === 'claimed');
}

/** Whether this operation can have given the claim back. */
export function mayHaveReturned({ outcome }: ReturnOperation): boolean {
  return outcome.result !== 'refused';
}

/** When the last request that can have made the return was answered; one without an answer may linger. */
function lastReturn(operations: readonly ReturnOperation[]): number {
  const told = operations.filter(({ outcome }) => outcome.result === 'returned').map((asked) => asked.completedAt);
  if (told.length > 0) return Math.min(...told);
  return Math.max(...operations.filter(mayHaveReturned).map((asked) => asked.completedAt + LINGER_MS));
}

function earliestGrant(operations: readonly ClaimOperation[]): number {
  return operations.find(mayHaveGranted)?.invokedAt ?? -Infinity;
}

export function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return groups;
}
