// What must hold, counting what clients were told. Looked at after every step, except what only the end can show.
import type { MySql } from './mysql.js';
import type { RebuildTables } from './rebuild-tables.js';
import type { Outcome, RedisCoupon, RedisNode } from './redis.js';
import type { Worker } from './worker.js';
import { Violation } from './world.js';

interface Teller {
  readonly worker: Worker;
  readonly epoch: number;
}

interface Heard {
  /** Claim numbers this user was told, and by whom. */
  readonly claims: Map<number, Teller[]>;
  /** Claim numbers this user was told to have given back. */
  readonly returns: Map<number, Teller[]>;
  /** A return was asked for and not surely refused: it may take effect at any time. */
  returnAsked: boolean;
}

export class Checks {
  readonly #mysql: MySql;
  readonly #tables: RebuildTables;
  readonly #level: 'redis' | 'ledger';
  readonly #heard = new Map<string, Heard>();
  readonly #userOf = new Map<number, string>();
  readonly #operatorHeard = new Map<number, Outcome>();
  /** For each opened epoch who had not reported which older epoch at that moment. */
  readonly #missingAtOpening = new Map<number, Set<string>>([[1, new Set()]]);
  #seenChanges = -1;
  /** Told claims that MySQL does not have at the end, within the loss window of level `redis`. */
  losses = 0;

  constructor(mysql: MySql, tables: RebuildTables, level: 'redis' | 'ledger') {
    this.#mysql = mysql;
    this.#tables = tables;
    this.#level = level;
  }

  #heardBy(user: string): Heard {
    const heard = this.#heard.get(user) ?? { claims: new Map(), returns: new Map(), returnAsked: false };
    this.#heard.set(user, heard);
    return heard;
  }

  holds(user: string): boolean {
    const heard = this.#heardBy(user);
    return heard.claims.size > 0 && !heard.returnAsked && [...heard.claims.keys()].some((no) => !this.#writtenOff(no));
  }

  /** An operator has given this number up by hand. */
  #writtenOff(no: number): boolean {
    if (this.#mysql.rows.has(no)) return false;
    return [...this.#mysql.ranges.values()].some((range) => range.byHand && no > range.base && no <= range.last);
  }

  toldClaimed(user: string, no: number, teller: Teller): void {
    const owner = this.#userOf.get(no) ?? user;
    if (owner !== user) throw new Violation(`I2: number ${no} told to ${owner} and to ${user}`);
    this.#userOf.set(no, user);
    if (this.#level === 'ledger' && this.#mysql.rows.get(no)?.user !== user) {
      throw new Violation(`I3: ${user} was told ${no} at level ledger, and MySQL has no such row`);
    }
    const heard = this.#heardBy(user);
    const tellers = heard.claims.get(no) ?? [];
    heard.claims.set(no, [...tellers, teller]);
    if (tellers.length === 0) this.#oneNumber(user, heard);
    this.units();
  }

  toldReturned(user: string, no: number, teller: Teller): void {
    const heard = this.#heardBy(user);
    heard.returns.set(no, [...(heard.returns.get(no) ?? []), teller]);
    if (this.#level === 'ledger' && this.#mysql.rows.get(no)?.returned !== true) {
      throw new Violation(`I3: ${user} was told at level ledger that ${no} is returned, and MySQL does not know it`);
    }
  }

  asksReturn(user: string): void {
    this.#heardBy(user).returnAsked = true;
  }

  returnRefused(user: string): void {
    const heard = this.#heardBy(user);
    if (heard.returns.size === 0) heard.returnAsked = false;
  }

  /** I2: of two numbers for one user, one was lost: who told it had not reported when the next epoch was opened. */
  #oneNumber(user: string, { claims }: Heard): void {
    const kept = [...claims].filter(([no, tellers]) => {
      return !this.#writtenOff(no) && !tellers.every((teller) => this.#tooLate(teller));
    });
    if (kept.length <= 1) return;
    throw new Violation(`I2: ${user} was told ${kept.map(([no]) => no).join(' and ')}, and nothing was lost`);
  }

  #tooLate({ worker, epoch }: Teller): boolean {
    const next = [...this.#missingAtOpening.keys()].find((opened) => opened > epoch);
    return next !== undefined && this.#missingAtOpening.get(next)?.has(`${worker.name}/${epoch}`) === true;
  }

  soldOut(node: RedisNode, user: string): void {
    const { fence, coupon, receipts } = node.data;
    if (receipts.has(user)) throw new Violation(`I6: ${user} has a receipt and is told sold_out`);
    const current = this.#mysql.isOpen && fence?.epoch === this.#mysql.shard.epoch && node.stands(fence.epoch);
    if (current && (this.#tables.withheld() > 0 || (coupon?.stock ?? 0) > 0)) {
      throw new Violation('I7: sold_out while units are withheld');
    }
  }

  operatorHears(version: number, outcome: Outcome): void {
    this.#operatorHeard.set(version, outcome);
    const settled = this.#mysql.outcomes.get(version);
    if (settled !== undefined && settled !== outcome) {
      throw new Violation(`the operator was told that change ${version} is ${outcome}, and it is ${settled}`);
    }
  }

  loads({ stock, withheld }: RedisCoupon): void {
    if (stock < 0) throw new Violation(`I5: a stock of ${stock} with ${withheld} withheld`);
  }

  /** I1: told or written down, no more than granted. */
  units(): void {
    const { coupon, pendingIncrease, rows } = this.#mysql;
    const users = new Set([...this.#heard.keys()].filter((user) => this.holds(user)));
    for (const row of rows.values()) if (!row.returned) users.add(row.user);
    const granted = coupon.total + pendingIncrease;
    if (users.size > granted) {
      throw new Violation(`I1: ${[...users].sort().join(', ')} hold ${users.size} of ${granted}`);
    }
  }

  /** After every step that changed something. */
  everyStep(nodes: readonly RedisNode[]): void {
    const { shard } = this.#mysql;
    if (this.#mysql.changes !== this.#seenChanges) {
      this.#seenChanges = this.#mysql.changes;
      this.units();
      if (this.#mysql.isOpen && !this.#missingAtOpening.has(shard.epoch)) {
        const missing = this.#mysql.workerEpochs.filter((row) => row.state !== 'reported');
        this.#missingAtOpening.set(shard.epoch, new Set(missing.map((row) => `${row.worker}/${row.epoch}`)));
      }
    }
    if (!this.#mysql.isOpen) return;
    for (const node of nodes) if (node.up && node.stands(shard.epoch)) this.#balance(node);
  }

  /** I5, and that every receipt is in MySQL or on its way there. */
  #balance(node: RedisNode): void {
    const { coupon, receipts, outbox } = node.data;
    if (coupon === undefined) return;
    const held = [...receipts.values()].filter((receipt) => !receipt.returned).length;
    const returning = (outbox ?? []).filter((entry) => entry.kind === 'return').length;
    const sum = coupon.stock + held + coupon.withheld + returning;
    if (sum !== coupon.total) {
      const parts = `stock ${coupon.stock} + held ${held} + withheld ${coupon.withheld} + returning ${returning}`;
      throw new Violation(`I5: ${parts} is not ${coupon.total}`);
    }
    for (const [no, { user }] of this.#mysql.rows) {
      if (receipts.get(user)?.no !== no) throw new Violation(`I4: row ${no} of ${user} is not in Redis`);
    }
    if (outbox === undefined) return;
    const onTheWay = new Set(outbox.map((entry) => (entry.kind === 'grant' ? entry.no : 0)));
    for (const [user, { no }] of receipts) {
      if (this.#mysql.rows.get(no)?.user !== user && !onTheWay.has(no)) {
        throw new Violation(`I3: the receipt ${no} of ${user} is neither in MySQL nor in the outbox`);
      }
    }
  }

  /** I3 and I8, when everybody has come to rest. */
  atTheEnd({ data: { coupon } }: RedisNode, alive: readonly string[]): void {
    if (coupon !== undefined && coupon.stock > 0 && coupon.highest >= coupon.ceiling) {
      throw new Violation(`I8: stock ${coupon.stock}, and ledger_behind for ever at number ${coupon.highest}`);
    }
    if (coupon !== undefined && coupon.withheld !== this.#tables.withheld()) {
      throw new Violation(
        `I5: ${coupon.withheld} withheld in Redis, and ${this.#tables.withheld()} in MySQL, for ever`,
      );
    }
    const { rows, ranges, numberOf, outcomes, shard, workerEpochs } = this.#mysql;
    for (const { worker, epoch, state } of workerEpochs) {
      if (epoch < shard.epoch && state !== 'reported' && alive.includes(worker)) {
        throw new Violation(`I8: ${worker} lives and never reports epoch ${epoch}`);
      }
    }
    for (const [version, outcome] of this.#operatorHeard) {
      if (outcomes.get(version) !== outcome) throw new Violation(`change ${version} is not ${outcome}, as was told`);
    }
    for (const [user, heard] of this.#heard) {
      for (const [no, tellers] of heard.returns) {
        if (rows.get(no)?.user === user ? rows.get(no)?.returned : numberOf.has(user)) continue;
        this.losses++;
        const lost = tellers.every(({ worker }) => !worker.process.alive && !worker.left);
        if (!lost && !this.#writtenOff(no))
          throw new Violation(`I3: the return of ${no} by ${user} was told and is lost`);
      }
      if (heard.claims.size === 0 || heard.claims.has(numberOf.get(user) ?? 0)) continue;
      this.losses++;
      // The first number is lost, and a repeat has got another one.
      if (numberOf.has(user)) continue;
      for (const [no, tellers] of heard.claims) {
        if (this.#writtenOff(no)) continue;
        const told = `${no} of ${user} was told and is not in MySQL`;
        if (this.#level === 'ledger') throw new Violation(`I3: ${told}, at level ledger`);
        if (tellers.some(({ worker }) => worker.process.alive || worker.left)) throw new Violation(`I3: ${told}`);
        const held = [...ranges.values()].some((range) => !range.released && no > range.base && no <= range.last);
        if (!held) throw new Violation(`I3: ${told}, and it is not withheld`);
      }
    }
  }
}
