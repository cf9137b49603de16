// What stands in a shard's outbox stream: what lua/claim.lua, lua/return.lua and lua/change.lua write and the ledger reads. An entry
// of the stream holds one return, one change, one claim that was put into the outbox again, or all claims that one script call
// granted (lua/include/grants.lua). Each of these is written, recognised and refused by itself; the entry leaves the outbox when
// nothing of it is left to do.
import { TIME_MAX_MS } from './definition.js';
import { isCouponId, isUserId } from './ids.js';
import { CODE } from '../lua/codes.js';

interface EntryBase {
  /** The dead letter that this entry is another attempt of (coupons/dead-letters.ts). */
  readonly letter?: number;
  /** Of the stream's entry, which may hold others. */
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

/** An entry, or what is said of one claim in it, that does not follow the format. */
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

/** What an entry holds: never nothing. Only entries of several claims hold more than one. */
export function parseEntry(raw: RawEntry): readonly (OutboxEntry | PoisonEntry)[] {
  const [id, fields] = raw;
  return fields?.[0] === 'kind' && fields[1] === 'grants' ? parseGrants(id, fields) : [parseSingle(raw)];
}

/**
 * How much an entry holds, without taking it apart: what the length of `parseEntry` is, or, where something in it is wrong,
 * no less.
 */
export function sizeOf([, fields]: RawEntry): number {
  if (fields?.[0] !== 'kind' || fields[1] !== 'grants') return 1;
  let size = 0;
  for (let i = GRANTS_HEAD_LENGTH; i < fields.length; i += GRANTS_PART_LENGTH) {
    size += linesOf(fields[i + GRANTS_PART_LENGTH - 1] ?? '');
  }
  return Math.max(1, size);
}

/**
 * Whether an entry is what a claim under this epoch leaves behind, as far as can be seen without taking it apart: several claims,
 * and no dead letter. Something in it may be wrong all the same.
 */
export function holdsNewClaims([, fields]: RawEntry, epoch: number): boolean {
  if (fields?.[0] !== 'kind' || fields[1] !== 'grants') return false;
  return fields[GRANTS_HEAD_LENGTH - 1] === String(epoch) && fields[fields.length - 2] !== 'letter';
}

function linesOf(text: string): number {
  let lines = 1;
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) lines++;
  return lines;
}

function parseSingle([id, flat]: RawEntry): OutboxEntry | PoisonEntry {
  const fields = new Map<string, string>();
  for (let i = 0; i + 1 < (flat?.length ?? 0); i += 2) fields.set(flat?.[i] ?? '', flat?.[i + 1] ?? '');
  const couponId = fields.get('coupon') ?? '';
  const letter = positive(fields.get('letter'));
  const base = letter === undefined ? { id } : { id, letter };
  const poison = (reason: string): PoisonEntry => ({ kind: 'poison', ...base, reason, fields: flat ?? [] });
  const at = time(fields.get('at'));
  const epoch = positive(fields.get('epoch'));
  if (!isCouponId(couponId) || at === undefined || epoch === undefined) return poison('coupon, at or epoch is wrong');
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

/** `kind`, `at`, `epoch`, and their values: what comes before the coupons of an entry of several claims. */
const GRANTS_HEAD_LENGTH = 6;
/** `coupon`, `numbers`, `users`, and their values. */
const GRANTS_PART_LENGTH = 6;
const NUMBERS = /^(\d+)-(\d+)$/;

/** What is wrong with one claim, or with all of one coupon, is poison by itself and leaves the others alone. */
function parseGrants(id: string, flat: readonly string[]): readonly (OutboxEntry | PoisonEntry)[] {
  const [, , atName, atText, epochName, epochText] = flat;
  const at = atName === 'at' ? time(atText) : undefined;
  const epoch = epochName === 'epoch' ? positive(epochText) : undefined;
  let end = flat.length;
  const letter = flat[end - 2] === 'letter' ? positive(flat[end - 1]) : undefined;
  while (flat[end - 2] === 'letter') end -= 2;
  const base = letter === undefined ? { id } : { id, letter };
  const poison = (reason: string, fields: readonly string[]): PoisonEntry => ({
    kind: 'poison',
    ...base,
    reason,
    fields,
  });
  if (at === undefined || epoch === undefined) return [poison('at or epoch is wrong', flat)];

  const head = flat.slice(0, GRANTS_HEAD_LENGTH);
  const entries: (OutboxEntry | PoisonEntry)[] = [];
  for (let i = GRANTS_HEAD_LENGTH; i < end; i += GRANTS_PART_LENGTH) {
    const part = flat.slice(i, Math.min(i + GRANTS_PART_LENGTH, end));
    const [couponName, couponId = '', numbersName, numbersText = '', usersName, usersText = ''] = part;
    const [, firstText, lastText] = NUMBERS.exec(numbersText) ?? [];
    const first = positive(firstText);
    const last = positive(lastText);
    const users = usersText.split('\n');
    const named = couponName === 'coupon' && numbersName === 'numbers' && usersName === 'users' && isCouponId(couponId);
    if (!named || first === undefined || last === undefined || last - first + 1 !== users.length) {
      entries.push(poison('coupon or numbers are wrong', [...head, ...part]));
      continue;
    }
    let claimNo = first;
    for (const userId of users) {
      if (isUserId(userId)) {
        const grant: GrantEntry = { kind: 'grant', id, couponId, claimNo, userId, at, epoch };
        entries.push(letter === undefined ? grant : { ...grant, letter });
      } else {
        const one = ['coupon', couponId, 'numbers', `${claimNo}-${claimNo}`, 'users', userId];
        entries.push(poison('a user is wrong', [...head, ...one]));
      }
      claimNo++;
    }
  }
  return entries.length > 0 ? entries : [poison('it holds no claim', flat)];
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

/** Epoch milliseconds. */
function time(text: string | undefined): number | undefined {
  const at = positive(text);
  return at === undefined || at > TIME_MAX_MS ? undefined : at;
}

function positive(text: string | undefined): number | undefined {
  const number = Number(text);
  return Number.isSafeInteger(number) && number > 0 ? number : undefined;
}

/** The fields of an entry that holds this alone, names and values in turn: what `parseEntry` reads. */
export function fieldsOf(entry: OutboxEntry | PoisonEntry): readonly string[] {
  if (entry.kind === 'poison') return entry.fields;
  const { kind, couponId, at, epoch } = entry;
  const own =
    kind === 'change'
      ? ['version', entry.version, 'outcome', entry.outcome === 'applied' ? 0 : CODE.BELOW_CLAIMED]
      : ['no', entry.claimNo, 'user', entry.userId];
  return ['kind', kind, 'coupon', couponId, ...own, 'at', at, 'epoch', epoch].map(String);
}
