// Steps 3 and 4 of a rebuild: hear the witnesses of the epoch that is over, then write to MySQL what the surviving outbox and
// the reports hold.
//
// What was granted under the last open epoch is taken as it is: it has one history, for no two Redis are open under one epoch.
// What is of an epoch that is settled comes from a Redis that was away, or from a worker that was: either nobody was told, or
// its number is withheld. It is taken only into a range that was withheld for its very epoch, and else dropped. It comes after
// the newer claims, so that it takes nobody's place.
import { outboxKey } from '../../../coupons/keys.js';
import type { GrantEntry, OutboxEntry, PoisonEntry, RawEntry, ReturnEntry } from '../../../coupons/outbox.js';
import { parseEntry } from '../../../coupons/outbox.js';
import { readLetteredClaims } from '../../../coupons/dead-letters.js';
import { readRanges } from '../../../coupons/withheld.js';
import type { ReportedClaim } from '../../../coupons/witnesses.js';
import { deleteReports, markMissed, readReports, readSilent } from '../../../coupons/witnesses.js';
import { isProvenDead, thisProcess } from '../../../platform/process-identity.js';
import { acknowledge } from '../acknowledge.js';
import { pause } from '../backoff.js';
import type { WrittenBatch } from '../writer-pool.js';
import type { Lease } from './lease.js';
import { RebuildOvertaken } from './lease.js';

/** Entries of the outbox in one step; one holds up to 100 claims (lua/include/grants.lua). */
const ENTRIES_CHUNK = 100;
/** Reports of one step. */
const CHUNK = 1_000;
/** A worker reads the epochs four times a second, and reports at once. One that takes longer than this is hung or cut off. */
const REPORT_LIMIT_MS = 3_000;
const REPORT_LOOK_MS = 25;

const PUT_ASIDE = 'claim or change put aside as a dead letter';

/** Waits until every witness has reported or is dead, or the time is over. Returns how many have not reported. */
export async function hearWitnesses(lease: Lease, signal: AbortSignal): Promise<number> {
  const { shard, openedEpoch } = lease;
  const observer = thisProcess();
  const deadline = performance.now() + REPORT_LIMIT_MS;
  while (performance.now() < deadline) {
    // A ledger that stops decides nothing: its successor hears them.
    signal.throwIfAborted();
    const silent = await readSilent(lease.context.mysql, { shard, epoch: openedEpoch });
    if (silent.every(({ process }) => isProvenDead(process, observer))) break;
    await pause(REPORT_LOOK_MS, signal);
  }
  await lease.renew();
  return await lease.transaction((connection) => markMissed(connection, shard, openedEpoch));
}

export interface Gathered {
  /** Claims of the outbox that were written. */
  rescued: number;
  /** Claims that were written and that only a witness still knew of. */
  reported: number;
}

export async function gather(lease: Lease): Promise<Gathered> {
  const gathered = { rescued: 0, reported: 0 };
  for (const which of ['current', 'settled'] as const) {
    gathered.rescued += await drainOutbox(lease, which);
    gathered.reported += await takeReports(lease, which);
  }
  return gathered;
}

type Epochs = 'current' | 'settled';

/** What cannot be read is looked at once, with the rest; a dead letter is of no epoch, for MySQL has known it since. */
function epochsOf(lease: Lease, entry: OutboxEntry | PoisonEntry): Epochs {
  if (entry.kind === 'poison' || entry.letter !== undefined) return 'current';
  return entry.epoch === lease.ungatheredEpoch ? 'current' : 'settled';
}

/** An entry that holds several claims leaves the outbox as a whole, so it is looked at as a whole. */
function epochsOfAll(lease: Lease, contents: readonly (OutboxEntry | PoisonEntry)[]): Epochs {
  return contents.some((entry) => epochsOf(lease, entry) === 'settled') ? 'settled' : 'current';
}

/** What does not fit is put aside as dead letters. */
async function drainOutbox(lease: Lease, which: Epochs): Promise<number> {
  const { shard, epoch } = lease;
  const { redis, scripts, log } = lease.context;
  let rescued = 0;
  for (let after = '-'; ;) {
    const page = (await redis.xrange(outboxKey(shard), after, '+', 'COUNT', ENTRIES_CHUNK)) as RawEntry[];
    const last = page.at(-1);
    if (last === undefined) return rescued;
    after = `(${last[0]}`;
    const entries = page.map(parseEntry).filter((contents) => epochsOfAll(lease, contents) === which);
    const { taken, dropped } = await chooseTaken(lease, entries.flat());
    // Nothing is left for later here: what is taken is written or put aside.
    const { ids, claims, refused } = await write(lease, taken);
    for (const { entry, reason } of refused) log.error({ shard, entry, reason }, PUT_ASIDE);
    if (dropped.length > 0) log.warn({ shard, dropped: dropped.length }, 'outbox entries of an epoch that is settled');
    const gone = [...new Set([...ids, ...dropped.map(({ id }) => id)])];
    // The ceilings reach Redis with the coupons, which are loaded next.
    const acknowledged = { shard, epoch, state: 'rebuilding', ids: gone, coupons: new Map() } as const;
    if (!(await acknowledge(redis, scripts, acknowledged))) throw new RebuildOvertaken('the fence has moved');
    rescued += claims;
    await lease.renew();
  }
}

async function takeReports(lease: Lease, which: Epochs): Promise<number> {
  const { shard, context } = lease;
  const of = { epoch: lease.ungatheredEpoch ?? -1, others: which === 'settled', limit: CHUNK };
  // What was put aside is known already: a report of it would only be put aside once more.
  const letters = await readLetteredClaims(context.mysql, shard);
  const lettered = new Set([...letters.values()].flat().map(claimKey));
  let reported = 0;
  for (let after = '0'; ;) {
    const page = await readReports(context.mysql, shard, { ...of, after });
    const last = page.at(-1);
    if (last === undefined) return reported;
    after = last.id;
    const unknown = page.flatMap(entriesOf).filter((entry) => !lettered.has(claimKey(entry)));
    const { taken, dropped } = await chooseTaken(lease, unknown);
    const { claims, refused } = await write(lease, taken);
    reported += claims;
    // A user who was granted another number meanwhile keeps that one.
    for (const { entry, reason } of refused) context.log.error({ shard, entry, reason }, PUT_ASIDE);
    if (dropped.length > 0) context.log.warn({ shard, dropped: dropped.length }, 'reports of an epoch that is settled');
    await lease.transaction((connection) => deleteReports(connection, page));
    await lease.renew();
  }
}

function claimKey({ kind, couponId, claimNo, userId }: GrantEntry | ReturnEntry): string {
  return `${kind} ${couponId} ${claimNo} ${userId}`;
}

function entriesOf({ returnedAt, ...claim }: ReportedClaim): (GrantEntry | ReturnEntry)[] {
  const grant: GrantEntry = { kind: 'grant', ...claim };
  if (returnedAt === undefined) return [grant];
  const returned: ReturnEntry = { ...grant, kind: 'return', at: returnedAt };
  return [grant, returned];
}

async function write(lease: Lease, entries: readonly (OutboxEntry | PoisonEntry)[]): Promise<WrittenBatch> {
  const { shard, epoch, context } = lease;
  // A window of 0 leaves the ceilings as they are: they bound what may be in doubt, until that has been settled.
  const result = await context.write({ shard, epoch, entries, ledgerWindow: 0 });
  if (result.status === 'stale_epoch') throw new RebuildOvertaken(`shard ${shard} has a newer epoch in MySQL`);
  return result;
}

async function chooseTaken<T extends OutboxEntry | PoisonEntry>(
  lease: Lease,
  entries: readonly T[],
): Promise<{ taken: T[]; dropped: T[] }> {
  const [taken, dropped]: [T[], T[]] = [[], []];
  for (const entry of entries) {
    const takes = epochsOf(lease, entry) === 'current' || (await isWithheld(lease, entry));
    (takes ? taken : dropped).push(entry);
  }
  return { taken, dropped };
}

async function isWithheld(lease: Lease, entry: OutboxEntry | PoisonEntry): Promise<boolean> {
  if (entry.kind === 'poison' || entry.kind === 'change') return false;
  const { couponId, claimNo, epoch } = entry;
  const ranges = await readRanges(lease.context.mysql, couponId);
  return ranges.some((r) => r.withheld && r.epoch === epoch && r.firstNo <= claimNo && claimNo <= r.lastNo);
}
