// The model's Redis: nodes that can forget, and the scripts of the protocol, each one atomic step on one node.
// One shard with one coupon. A script refuses with `fenced` and changes nothing.
import type { Rules } from './rules.js';
import type { Server } from './world.js';

export interface Fence {
  epoch: number;
  token: string;
  state: 'rebuilding' | 'open';
  runId: string;
  replid: string;
}

export interface Receipt {
  no: number;
  returned: boolean;
}

export interface RedisCoupon {
  total: number;
  stock: number;
  highest: number;
  ceiling: number;
  /** Units that nobody may have, because somebody who does not answer may have promised them. */
  withheld: number;
  version: number;
  outcome: Outcome;
}

export type Outcome = 'applied' | 'below_claimed';

export type Entry =
  | { id: number; epoch: number; kind: 'grant' | 'return'; no: number; user: string }
  | { id: number; epoch: number; kind: 'change'; version: number; outcome: Outcome };

type WithoutId<T> = T extends unknown ? Omit<T, 'id'> : never;

interface Data {
  fence: Fence | undefined;
  coupon: RedisCoupon | undefined;
  receipts: Map<string, Receipt>;
  outbox: Entry[] | undefined;
  lastId: number;
}

export interface Reply {
  code: 'claimed' | 'already_claimed' | 'returned' | 'not_claimed' | 'sold_out' | 'ledger_behind' | 'fenced';
  no: number;
  /** The newest entry there has been: what this answer tells is at or below it. */
  newest: number;
  /** Every entry with a lower id is committed in MySQL. */
  below: number;
  /** The outbox was empty. */
  empty: boolean;
}

const REFUSED: Reply = { code: 'fenced', no: 0, newest: 0, below: 0, empty: false };
const EMPTY: Data = { fence: undefined, coupon: undefined, receipts: new Map(), outbox: undefined, lastId: 0 };

const copy = (data: Data): Data => ({
  fence: data.fence && { ...data.fence },
  coupon: data.coupon && { ...data.coupon },
  receipts: new Map([...data.receipts].map(([user, receipt]) => [user, { ...receipt }])),
  outbox: data.outbox && [...data.outbox],
  lastId: data.lastId,
});

export class RedisNode implements Server {
  readonly name: string;
  up = true;
  paused = false;
  incarnation = 1;
  runId: string;
  replid: string;
  data: Data = copy(EMPTY);
  /** Every state this node has had, the newest last: what a restart or a replica may come back with. */
  #history: Data[] = [copy(EMPTY)];
  readonly #rules: Rules;
  readonly #onSoldOut: (node: RedisNode, user: string) => void;

  constructor(name: string, rules: Rules, onSoldOut: (node: RedisNode, user: string) => void) {
    this.name = name;
    this.#rules = rules;
    this.#onSoldOut = onSoldOut;
    this.runId = `${name}1`;
    this.replid = `repl-${name}`;
  }

  /** The process ends and comes back with what it had `back` writes ago; with `back` Infinity, empty. */
  restart(back: number): void {
    this.incarnation++;
    this.runId = `${this.name}${this.incarnation}`;
    this.up = true;
    this.paused = false;
    this.#become(this.stateAgo(back));
  }

  /** Becomes master with what it has of the other node's writes, under a new replication id. */
  promote(state: Data, replid: string): void {
    this.replid = replid;
    this.#become(state);
  }

  stateAgo(back: number): Data {
    return this.#history.at(-1 - back) ?? EMPTY;
  }

  get writes(): number {
    return this.#history.length;
  }

  /** FLUSHALL, or DEL of the outbox alone: the process and its identity stay. */
  forget(what: 'all' | 'outbox'): void {
    this.data = what === 'all' ? copy(EMPTY) : { ...this.data, outbox: undefined };
    this.#written();
  }

  #become(state: Data): void {
    this.data = copy(state);
    this.#history = [copy(state)];
  }

  #written(): void {
    this.#history.push(copy(this.data));
  }

  stands(epoch: number, state: Fence['state'] = 'open'): boolean {
    const { fence, outbox } = this.data;
    if (fence?.state !== state) return false;
    if (this.#rules.keeps('epoch in the script') && fence.epoch !== epoch) return false;
    if (this.#rules.keeps('outbox stands') && outbox === undefined) return false;
    return !this.#rules.keeps('identity') || (fence.runId === this.runId && fence.replid === this.replid);
  }

  #reply(code: Reply['code'], no = 0): Reply {
    const { outbox, lastId } = this.data;
    const oldest = outbox?.[0];
    return { code, no, newest: lastId, below: oldest?.id ?? lastId + 1, empty: oldest === undefined };
  }

  #append(entry: WithoutId<Entry>): void {
    this.data.lastId++;
    this.data.outbox = [...(this.data.outbox ?? []), { ...entry, id: this.data.lastId }];
    this.#written();
  }

  // lua/claim.lua, for one user
  claim(epoch: number, user: string, fresh: { total: number; ceiling: number }): Reply {
    if (this.data.fence === undefined && !this.#rules.keeps('no fence afresh')) {
      const identity = { runId: this.runId, replid: this.replid };
      this.data.fence = { epoch, token: 'afresh', state: 'open', ...identity };
      this.data.outbox ??= [];
      this.data.coupon ??= { ...fresh, stock: fresh.total, highest: 0, withheld: 0, version: 1, outcome: 'applied' };
    }
    const { coupon, receipts } = this.data;
    if (!this.stands(epoch) || coupon === undefined) return REFUSED;
    const soldOut = coupon.stock <= 0 && coupon.withheld <= 0;
    if (soldOut && !this.#rules.keeps('membership first')) {
      this.#onSoldOut(this, user);
      return this.#reply('sold_out');
    }
    const receipt = receipts.get(user);
    if (receipt?.returned === true) return this.#reply('returned', receipt.no);
    if (receipt !== undefined) return this.#reply('already_claimed', receipt.no);
    if (coupon.highest >= coupon.ceiling && this.#rules.keeps('ceiling')) return this.#reply('ledger_behind');
    if (coupon.stock <= 0) {
      if (coupon.withheld > 0 && this.#rules.keeps('fenced while withheld')) return this.#reply('fenced');
      this.#onSoldOut(this, user);
      return this.#reply('sold_out');
    }
    coupon.highest++;
    coupon.stock--;
    receipts.set(user, { no: coupon.highest, returned: false });
    this.#append({ epoch, kind: 'grant', no: coupon.highest, user });
    return this.#reply('claimed', coupon.highest);
  }

  /** The unit goes back to stock only when the ledger acknowledges the entry. */
  giveBack(epoch: number, user: string): Reply {
    const { coupon, receipts } = this.data;
    if (!this.stands(epoch) || coupon === undefined) return REFUSED;
    const receipt = receipts.get(user);
    if (receipt === undefined) return this.#reply('not_claimed');
    if (receipt.returned) return this.#reply('returned', receipt.no);
    receipt.returned = true;
    if (!this.#rules.keeps('return before stock')) coupon.stock++;
    this.#append({ epoch, kind: 'return', no: receipt.no, user });
    return this.#reply('returned', receipt.no);
  }

  /** How far the outbox has been committed, without a claim. */
  look(epoch: number): Reply {
    return this.stands(epoch) ? this.#reply('not_claimed') : REFUSED;
  }

  // lua/change.lua
  change(epoch: number, version: number, delta: number): Outcome | 'fenced' | 'version_gap' {
    const { coupon } = this.data;
    if (!this.stands(epoch) || coupon === undefined) return 'fenced';
    if (coupon.version === version) return coupon.outcome;
    if (coupon.version !== version - 1) return 'version_gap';
    coupon.outcome = coupon.stock + delta < 0 ? 'below_claimed' : 'applied';
    coupon.version = version;
    if (coupon.outcome === 'applied') {
      coupon.stock += delta;
      coupon.total += delta;
    }
    this.#append({ epoch, kind: 'change', version, outcome: coupon.outcome });
    return coupon.outcome;
  }

  /** XRANGE: no script, no check. */
  read(count: number): Entry[] {
    return (this.data.outbox ?? []).slice(0, count);
  }

  // lua/acknowledge.lua
  acknowledge(epoch: number, state: Fence['state'], ids: readonly number[], ceiling: number): boolean {
    if (!this.stands(epoch, state)) return false;
    const { coupon } = this.data;
    const gone = (this.data.outbox ?? []).filter((entry) => ids.includes(entry.id));
    this.data.outbox = (this.data.outbox ?? []).filter((entry) => !ids.includes(entry.id));
    if (coupon !== undefined && state === 'open') {
      coupon.ceiling = Math.max(coupon.ceiling, ceiling);
      if (this.#rules.keeps('return before stock')) coupon.stock += gone.filter((e) => e.kind === 'return').length;
    }
    this.#written();
    return true;
  }

  // lua/rebuild_begin.lua
  rebuildBegin(epoch: number, token: string): boolean {
    const { fence } = this.data;
    if (fence && (fence.epoch > epoch || (fence.epoch === epoch && fence.token !== token))) return false;
    const identity = { runId: this.runId, replid: this.replid };
    this.data.fence = { epoch, token, state: 'rebuilding', ...identity };
    this.data.outbox ??= [];
    this.#written();
    return true;
  }

  #loads(epoch: number, token: string): boolean {
    if (!this.#rules.keeps('token of the load')) return this.data.fence !== undefined;
    return this.stands(epoch, 'rebuilding') && this.data.fence?.token === token;
  }

  loadBegin(epoch: number, token: string): boolean {
    if (!this.#loads(epoch, token)) return false;
    this.data.coupon = undefined;
    this.data.receipts = new Map();
    this.#written();
    return true;
  }

  loadReceipts(epoch: number, token: string, receipts: readonly (readonly [string, Receipt])[]): boolean {
    if (!this.#loads(epoch, token)) return false;
    for (const [user, receipt] of receipts) this.data.receipts.set(user, { ...receipt });
    this.#written();
    return true;
  }

  loadFinish(epoch: number, token: string, coupon: RedisCoupon, receipts: number): boolean {
    if (!this.#loads(epoch, token) || this.data.receipts.size !== receipts) return false;
    this.data.coupon = { ...coupon };
    this.#written();
    return true;
  }

  rebuildOpen(epoch: number, token: string): boolean {
    const { fence, coupon, outbox } = this.data;
    if (!this.#loads(epoch, token) || fence === undefined || coupon === undefined) return false;
    if (outbox?.length !== 0 && this.#rules.keeps('empty outbox at opening')) return false;
    fence.state = 'open';
    this.#written();
    return true;
  }
}
