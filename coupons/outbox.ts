// The entries of a shard's outbox stream: what lua/claim.lua, lua/return.lua and lua/change.lua write and the ledger reads.
import { TIME_MAX_MS } from './definition.js';
import { isCouponId, isUserId } from './ids.js';
import { CODE } from '../lua/codes.js';

interface EntryBase {
  /** The dead letter that this entry is another attempt of (coupons/dead-letters.ts). */
  readonly letter?: number;
  /** Stream id. */
  readonly id: string;
  readonly couponId: string;
  /** Epoch milliseconds by the shard's clock. */
  readonly at: number;
  readonly epoch: number;
}

export interface GrantEntry extends EntryBase {
  readonly kind: 'grant';
  readonly claimNo: number;
  readonly userId: string;
}

/** The claim was given back; `at` is when. */
export interface ReturnEntry extends EntryBase {
  readonly kind: 'return';
  readonly claimNo: number;
  readonly userId: string;
}

export interface ChangeEntry extends EntryBase {
  readonly kind: 'change';
  readonly version: number;
  readonly outcome: ChangeOutcome;
}

export type ChangeOutcome = 'applied' | 'below_claimed';
export type OutboxEntry = GrantEntry | ReturnEntry | ChangeEntry;

/** An entry that does not follow the format. */
export interface PoisonEntry {
  readonly kind: 'poison';
  readonly id: string;
  readonly letter?: number;
  readonly reason: string;
  /** Names and values in turn. */
  readonly fields: readonly string[];
}

/** A stream entry as ioredis gives it: id and a flat list of names and values; null for a pending entry that was deleted. */
export type RawEntry = [id: string, fields: string[] | null];

export function parseEntry([id, flat]: RawEntry): OutboxEntry | PoisonEntry {
  const fields = new Map<string, string>();
  for (let i = 0; i + 1 < (flat?.length ?? 0); i += 2) fields.set(flat?.[i] ?? '', flat?.[i + 1] ?? '');
  const couponId = fields.get('coupon') ?? '';
  const letter = positive(fields.get('letter'));
  const base = letter === undefined ? { id } : { id, letter };
  const poison = (reason: string): PoisonEntry => ({ kind: 'poison', ...base, reason, fields: flat ?? [] });
  const at = positive(fields.get('at'));
  const epoch = positive(fields.get('epoch'));
  if (!isCouponId(couponId) || at === undefined || at > TIME_MAX_MS || epoch === undefined)
    return poison('coupon, at or epoch is wrong');
  const kind = fields.get('kind');
  switch (kind) {
    case 'grant':
    case 'return': {
      const claimNo = positive(fields.get('no'));
      const userId = fields.get('user') ?? '';
      if (claimNo === undefined || !isUserId(userId)) return poison('no or user is wrong');
      return { kind, ...base, couponId, claimNo, userId, at, epoch };
    }
    case 'change': {
      const version = positive(fields.get('version'));
      const outcome = outcomeOf(Number(fields.get('outcome')));
      if (version === undefined || outcome === undefined) return poison('version or outcome is wrong');
      return { kind, ...base, couponId, version, outcome, at, epoch };
    }
    default:
      return poison('unknown kind');
  }
}

/** The outcome of a change as lua/change.lua writes it. */
export function outcomeOf(code: number): ChangeOutcome | undefined {
  if (code === 0) return 'applied';
  return code === CODE.BELOW_CLAIMED ? 'below_claimed' : undefined;
}

/** Compares two ids of entries, `<ms>-<number>`. */
export function isLower(a: string, b: string): boolean {
  const [aMs, aNo] = a.split('-').map(Number) as [number, number];
  const [bMs, bNo] = b.split('-').map(Number) as [number, number];
  return aMs < bMs || (aMs === bMs && aNo < bNo);
}

function positive(text: string | undefined): number | undefined {
  const number = Number(text);
  return Number.isSafeInteger(number) && number > 0 ? number : undefined;
}

/** The fields of an entry, names and values in turn: what `parseEntry` reads. */
export function fieldsOf(entry: OutboxEntry | PoisonEntry): readonly string[] {
  if (entry.kind === 'poison') return entry.fields;
  const { kind, couponId, at, epoch } = entry;
  const own =
    kind === 'change'
      ? ['version', entry.version, 'outcome', entry.outcome === 'applied' ? 0 : CODE.BELOW_CLAIMED]
      : ['no', entry.claimNo, 'user', entry.userId];
  return ['kind', kind, 'coupon', couponId, ...own, 'at', at, 'epoch', epoch].map(String);
}
