// What this process has told users and MySQL may not have yet: the memory from which a shard is rebuilt when Redis has
// forgotten its newest writes. Pure data; epoch-watch.ts registers and reports, claim-line.ts fills it.
//
//   serving   under one epoch of a shard. Every positive answer is remembered before it is given, with the newest id that
//             was in the outbox then. It is dropped once a reply of the same epoch shows that the outbox begins behind
//             that id, or is empty: the ledger has committed it.
//   owed      the epoch is over. What was remembered is to be reported, and that is a promise: a reply of that epoch which
//             comes from now on is not remembered, and must not be answered with a claim.
//   silent    reported, or never served.
import { isLower } from '../../coupons/outbox.js';
import type { ReportedClaim } from '../../coupons/witnesses.js';

export type WitnessedClaim = Omit<ReportedClaim, 'id' | 'epoch'>;

/** How far the ledger is with an outbox, as lua/include/outbox.lua tells it. */
export type OutboxEnds = [committed: string, newest: string];

export interface OwedReport {
  readonly shard: number;
  readonly epoch: number;
  readonly claims: readonly WitnessedClaim[];
}

/** About 100 MB. A full memory is back-pressure: claims are refused until the ledger has caught up. */
const CLAIMS_MAX = 500_000;

interface Memory {
  readonly epoch: number;
  /** Oldest first. Claims of one reply, and of further replies with the same newest id. */
  readonly groups: { readonly newest: string; readonly claims: WitnessedClaim[] }[];
}

export class Witness {
  readonly #serving = new Map<number, Memory>();
  #owed: OwedReport[] = [];
  #size = 0;

  /** Claims in memory, owed ones included. */
  get size(): number {
    return this.#size;
  }

  get full(): boolean {
    return this.#size >= CLAIMS_MAX;
  }

  /** Undefined while silent. */
  epochOf(shard: number): number | undefined {
    return this.#serving.get(shard)?.epoch;
  }

  /** Shards with something that is not known to be committed. */
  get unconfirmed(): { readonly shard: number; readonly epoch: number }[] {
    return [...this.#serving]
      .filter(([, { groups }]) => groups.length > 0)
      .map(([shard, { epoch }]) => ({ shard, epoch }));
  }

  /** Registered with this epoch: answers may be given from now on. */
  serve(shard: number, epoch: number): void {
    if (this.#serving.has(shard)) throw new Error(`shard ${shard} is served already`);
    this.#serving.set(shard, { epoch, groups: [] });
  }

  /**
   * To be called before the claims are told to anybody. False: they must not be told. `ends` undefined, of a reply that binds
   * nobody: there is nothing to remember.
   */
  remember(shard: number, epoch: number, ends: OutboxEnds | undefined, claims: readonly WitnessedClaim[]): boolean {
    const memory = this.#serving.get(shard);
    if (memory?.epoch !== epoch) return false;
    if (ends === undefined) return claims.length === 0;
    const [committed, newest] = ends;
    this.#forgetBefore(memory, committed);
    // An empty outbox: all that was ever granted is committed.
    if (newest === '' || claims.length === 0) return true;
    const last = memory.groups.at(-1);
    if (last?.newest === newest) last.claims.push(...claims);
    else memory.groups.push({ newest, claims: [...claims] });
    this.#size += claims.length;
    return true;
  }

  /** `committed` of this epoch, told by a script that checked it. */
  confirm(shard: number, epoch: number, committed: string): void {
    const memory = this.#serving.get(shard);
    if (memory?.epoch === epoch) this.#forgetBefore(memory, committed);
  }

  /** The epoch that the shard is served under is over. */
  promise(shard: number): void {
    const memory = this.#serving.get(shard);
    if (memory === undefined) return;
    this.#serving.delete(shard);
    this.#owed.push({ shard, epoch: memory.epoch, claims: memory.groups.flatMap(({ claims }) => claims) });
  }

  /** An epoch that this process may be registered for, and that it never served. */
  owe(shard: number, epoch: number): void {
    this.#owed.push({ shard, epoch, claims: [] });
  }

  get owed(): readonly OwedReport[] {
    return this.#owed;
  }

  /** These reports are committed. */
  delivered(reports: readonly OwedReport[]): void {
    this.#owed = this.#owed.filter((report) => !reports.includes(report));
    for (const { claims } of reports) this.#size -= claims.length;
  }

  /** Replies may arrive in another order than they were given (two connections): an older one just tells less. */
  #forgetBefore(memory: Memory, committed: string): void {
    const { groups } = memory;
    let count = 0;
    for (const { newest, claims } of groups) {
      if (!isLower(newest, committed)) break;
      count++;
      this.#size -= claims.length;
    }
    groups.splice(0, count);
  }
}
