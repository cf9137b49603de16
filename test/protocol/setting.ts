// One schedule's cast and its sizes, all drawn from the seed: small numbers, so that limits are met often.
import { Checks } from './checks.js';
import { Client, Operator } from './client.js';
import { Ledger } from './ledger.js';
import { MySql } from './mysql.js';
import { RebuildTables } from './rebuild-tables.js';
import { RedisNode } from './redis.js';
import type { Rules } from './rules.js';
import { Worker } from './worker.js';
import type { Process } from './world.js';
import { Lost, World } from './world.js';

const WORKERS_EVER_MAX = 6;
const LEDGERS_EVER_MAX = 6;

export class Setting {
  readonly world: World;
  readonly rules: Rules;
  readonly mysql: MySql;
  readonly tables: RebuildTables;
  readonly checks: Checks;
  readonly nodes: readonly [RedisNode, RedisNode];
  /** Where everybody should be connected; not everybody knows yet. */
  master: RedisNode;
  readonly level: 'redis' | 'ledger';
  readonly window: number;
  readonly witnessMax: number;
  readonly returns: boolean;
  /** What a coupon would be if it were begun afresh. */
  readonly fresh: { total: number; ceiling: number };
  readonly workers: Worker[] = [];
  readonly ledgers: Ledger[] = [];
  readonly operators: Operator[] = [];
  readonly clients: Client[] = [];

  constructor(seed: number, rules: Rules, traced: boolean) {
    this.world = new World(seed, { traced, check: () => this.checks.everyStep(this.nodes) });
    const { chance } = this.world;
    this.world.replyLoss = chance.pick([0, 0.02, 0.1]) ?? 0;
    this.rules = rules;
    this.level = chance.happens(0.2) ? 'ledger' : 'redis';
    const large = chance.happens(0.4);
    this.window = chance.happens(0.3) ? 12 : chance.between(1, 6);
    this.witnessMax = chance.happens(0.3) ? 12 : chance.between(2, 6);
    this.returns = chance.happens(0.5);
    const total = large ? chance.between(3, 8) : chance.between(1, 5);
    this.fresh = { total, ceiling: this.window };
    this.mysql = new MySql(rules, total, this.window);
    this.tables = new RebuildTables(this.mysql, rules, this.level);
    this.checks = new Checks(this.mysql, this.tables, this.level);
    const soldOut = (node: RedisNode, user: string): void => this.checks.soldOut(node, user);
    this.nodes = [new RedisNode('A', rules, soldOut), new RedisNode('B', rules, soldOut)];
    this.master = this.nodes[0];
    this.#openFirst(total);
    for (let i = chance.between(1, 3); i > 0; i--) this.addWorker();
    for (let i = chance.between(1, 2); i > 0; i--) this.addLedger();
    for (let i = chance.between(1, 2); i > 0; i--) this.addOperator();
    for (let i = large ? chance.between(5, 10) : chance.between(2, 6); i > 0; i--) {
      this.clients.push(new Client('abcdefghij'.charAt(i - 1), this, chance.between(1, 6)));
    }
  }

  /** Epoch 1 is open on the first node. */
  #openFirst(total: number): void {
    const { master, window } = this;
    master.rebuildBegin(1, 'first');
    master.loadBegin(1, 'first');
    const coupon = { total, stock: total, highest: 0, ceiling: window, withheld: 0, version: 1 };
    master.loadFinish(1, 'first', { ...coupon, outcome: 'applied' }, 0);
    master.rebuildOpen(1, 'first');
  }

  addWorker(): void {
    if (this.workers.length < WORKERS_EVER_MAX) this.workers.push(new Worker(`W${this.workers.length + 1}`, this));
  }

  addLedger(): void {
    if (this.ledgers.length < LEDGERS_EVER_MAX) this.ledgers.push(new Ledger(`L${this.ledgers.length + 1}`, this));
  }

  addOperator(changesMax = 2): void {
    const { chance } = this.world;
    const length = chance.between(0, changesMax);
    const changes = Array.from({ length }, () => chance.pick([-2, -1, 1, 2]) ?? 1);
    this.operators.push(new Operator(`O${this.operators.length + 1}`, this, changes));
  }

  workersAlive(): Worker[] {
    return this.workers.filter(({ process }) => process.alive);
  }

  /** Those that believe they may claim, right or wrong. */
  workersReady(): Worker[] {
    return this.workers.filter((worker) => worker.takesClaims);
  }

  get actors(): { readonly process: Process; route: RedisNode }[] {
    return [...this.workers, ...this.ledgers, ...this.operators].filter(({ process }) => process.alive);
  }

  readonly provenDead = (name: string): boolean => {
    return this.workers.some((worker) => worker.name === name && !worker.process.alive);
  };

  /** A call was lost: perhaps this process finds out that the master is elsewhere. Throws what is no `Lost`. */
  lost(error: unknown, actor: { readonly process: Process; route: RedisNode }): void {
    if (!(error instanceof Lost)) throw error;
    if (actor.process.cutFrom.size > 0) return;
    if (this.world.calm || this.world.chance.happens(0.5)) actor.route = this.master;
  }

  /** Faults stop: everybody who is alive goes on, everything is reachable, the dead have successors. */
  calm(): void {
    const { world, master } = this;
    world.note('calm', () => `everybody goes on, connected to ${master.name}`);
    world.calm = true;
    if (!master.up) master.restart(0);
    for (const node of this.nodes) node.paused = false;
    if (this.workersAlive().every((worker) => worker.drains))
      this.workers.push(new Worker(`W${this.workers.length + 1}`, this));
    if (!this.ledgers.some(({ process }) => process.alive)) this.ledgers.push(new Ledger('L', this));
    if (!this.operators.some(({ process }) => process.alive)) this.addOperator(0);
    for (const actor of this.actors) {
      actor.route = master;
      actor.process.paused = false;
      actor.process.cutFrom.clear();
    }
  }

  /** I8: everything is open, drained and settled. */
  get atRest(): boolean {
    const { mysql, master } = this;
    return (
      mysql.isOpen &&
      master.stands(mysql.shard.epoch) &&
      master.data.outbox?.length === 0 &&
      mysql.pending() === undefined &&
      !(mysql.hasLateReport && this.rules.keeps('late report fences')) &&
      this.clients.every(({ done }) => done) &&
      this.workers.every((worker) => !worker.process.alive || worker.settled)
    );
  }
}
