// An http worker: answers claims and returns under an epoch it is registered for, remembers what it has told until that is
// committed, and reports it when the epoch is over. Its tasks share its memory, as those of a process do.
import type { Told } from './mysql.js';
import type { RedisNode, Reply } from './redis.js';
import type { Setting } from './setting.js';
import type { Process, Steps } from './world.js';
import { Lost } from './world.js';

export type Answer = 'claimed' | 'returned' | 'refused' | 'unknown';

export interface Request {
  readonly user: string;
  readonly kind: 'claim' | 'return';
  answer: Answer | undefined;
  no: number;
  /** The client has gone: it does not hear the answer. */
  abandoned: boolean;
}

interface Remembered extends Told {
  /** Committed once the outbox has passed this id. */
  readonly id: number;
}

/** How often an answer at level `ledger` looks for its row before it gives up. */
const LOOKS_MAX = 4;

export class Worker {
  readonly name: string;
  readonly process: Process;
  readonly #setting: Setting;
  /** Under which this worker claims; undefined while it may not. */
  #epoch: number | undefined;
  /** Nothing of this epoch or an older one is told any more. */
  #promised = 0;
  /** Epochs whose registration was sent: each must be reported. */
  readonly #toReport = new Set<number>();
  readonly #witness = new Map<number, Remembered[]>();
  #inFlight = 0;
  #draining = false;
  left = false;
  route: RedisNode;

  constructor(name: string, setting: Setting) {
    this.name = name;
    this.#setting = setting;
    this.process = setting.world.process(name);
    this.route = setting.master;
    setting.world.spawn(this.process, this.#watch());
  }

  get takesClaims(): boolean {
    return this.process.alive && !this.#draining && this.#epoch !== undefined;
  }

  /** Has told something that may not be committed. */
  get inDoubt(): boolean {
    return [...this.#witness.values()].some((told) => told.length > 0);
  }

  get drains(): boolean {
    return this.#draining;
  }

  /** Has reported every epoch but the newest. */
  get settled(): boolean {
    const { mysql } = this.#setting;
    return [...this.#toReport].every((epoch) => epoch === mysql.shard.epoch);
  }

  accept(request: Request): void {
    this.#setting.world.spawn(this.process, this.#serve(request));
  }

  /** Watches the shard's epoch: reports the old ones, registers for the new one. */
  *#watch(): Steps {
    const { mysql, world, rules } = this.#setting;
    let seen = '';
    for (;;) {
      // Looking at what it knows already would change nothing.
      yield () => `${mysql.shard.epoch} ${mysql.shard.state}` !== seen;
      try {
        const shard = yield* world.call(this.process, mysql, 'read the shard', () => ({ ...mysql.shard }));
        if (this.#epoch !== undefined && this.#epoch < shard.epoch) this.#epoch = undefined;
        for (const epoch of [...this.#toReport]) if (epoch < shard.epoch) yield* this.#report(epoch);
        if (shard.state === 'open' && shard.epoch > this.#promised && !this.#draining) {
          // Before it is sent: the answer may be lost.
          if (rules.keeps('unsure registration')) this.#toReport.add(shard.epoch);
          if (!rules.keeps('registration')) this.#epoch = shard.epoch;
          const what = `register for ${shard.epoch}`;
          if (yield* world.call(this.process, mysql, what, () => mysql.register(this.name, shard.epoch))) {
            this.#epoch = shard.epoch;
            this.#toReport.add(shard.epoch);
          }
        }
        seen = `${shard.epoch} ${shard.state}`;
      } catch (error) {
        this.#setting.lost(error, this);
      }
    }
  }

  *#report(epoch: number): Steps {
    const { mysql, world } = this.#setting;
    this.#promised = Math.max(this.#promised, epoch);
    const told = this.#witness.get(epoch) ?? [];
    const what = `report ${epoch}: ${told.map(({ no, user }) => `${no} of ${user}`).join(', ') || 'nothing'}`;
    const snapshot = [...told];
    yield* world.call(this.process, mysql, what, () => mysql.report(this.name, epoch, snapshot));
    this.#toReport.delete(epoch);
    this.#witness.delete(epoch);
  }

  *#serve(request: Request): Steps {
    const { world, rules, level, witnessMax, fresh } = this.#setting;
    const epoch = this.#epoch;
    const full = (this.#witness.get(epoch ?? 0)?.length ?? 0) + this.#inFlight >= witnessMax;
    if (epoch === undefined || this.#draining || full) {
      this.#answer(request, 'refused', 0);
      return;
    }
    this.#inFlight++;
    try {
      const { route } = this;
      const { kind, user } = request;
      const reply = yield* world.call(this.process, route, `${kind} of ${user} under ${epoch}`, () => {
        const reply = kind === 'claim' ? route.claim(epoch, user, fresh) : route.giveBack(epoch, user);
        world.note(
          this.name,
          () => `${kind} of ${user} under ${epoch} @${route.name}: ${reply.code} ${reply.no || ''}`,
        );
        return reply;
      });
      this.#learn(epoch, reply);
      const answer = answerOf(request, reply);
      const positive = answer === 'claimed' || answer === 'returned';
      if (positive && this.#promised >= epoch && rules.keeps('promise')) {
        this.#answer(request, 'unknown', 0);
        return;
      }
      const told = { no: reply.no, user, returned: answer === 'returned' };
      if (positive) this.#remember(epoch, told, reply);
      if (positive && level === 'ledger' && !(yield* this.#committed(told))) {
        this.#answer(request, 'unknown', 0);
        return;
      }
      yield undefined;
      this.#answer(request, answer, reply.no, epoch);
    } catch (error) {
      this.#setting.lost(error, this);
      this.#answer(request, 'unknown', 0);
    } finally {
      this.#inFlight--;
    }
  }

  /** Forgets what this reply shows to be committed; one that refuses shows nothing. */
  #learn(epoch: number, reply: Reply): void {
    const { rules } = this.#setting;
    const remembered = this.#witness.get(epoch);
    const refused = reply.code === 'fenced' || reply.code === 'sold_out' || reply.code === 'ledger_behind';
    if (remembered === undefined || refused) return;
    let { below } = reply;
    if (!rules.keeps('order of replies') && reply.empty) below = Infinity;
    if (!rules.keeps('kept until committed')) below = reply.newest;
    this.#witness.set(
      epoch,
      remembered.filter((one) => one.id >= below),
    );
  }

  #remember(epoch: number, told: Told, reply: Reply): void {
    const { rules } = this.#setting;
    if (!rules.keeps('witness') || reply.newest < reply.below) return;
    if (told.returned && !rules.keeps('return is witnessed')) return;
    const remembered = this.#witness.get(epoch) ?? [];
    remembered.push({ ...told, id: reply.newest });
    this.#witness.set(epoch, remembered);
  }

  *#committed(told: Told): Steps<boolean> {
    const { mysql, world } = this.#setting;
    for (let look = 1; look <= LOOKS_MAX; look++) {
      const seen = mysql.changes;
      const found = yield* world.call(this.process, mysql, `look for row ${told.no}`, () => {
        return mysql.hasRow(told) && (!told.returned || mysql.rows.get(told.no)?.returned === true);
      });
      if (found) return true;
      yield () => mysql.changes !== seen || world.calm;
    }
    return false;
  }

  #answer(request: Request, answer: Answer, no: number, epoch = 0): void {
    const { world, checks } = this.#setting;
    world.note(this.name, () => `tells ${request.user}: ${answer} ${no || ''}${request.abandoned ? ' (gone)' : ''}`);
    request.answer = answer;
    request.no = no;
    if (request.abandoned) return;
    if (answer === 'claimed') checks.toldClaimed(request.user, no, { worker: this, epoch });
    if (answer === 'returned') checks.toldReturned(request.user, no, { worker: this, epoch });
  }

  /** Takes no more claims, waits until nothing it told is in doubt, and goes. */
  leave(): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#setting.world.spawn(this.process, this.#leaving());
  }

  *#leaving(): Steps {
    const { mysql, world, rules } = this.#setting;
    const idle = (): boolean =>
      this.#inFlight === 0 && [...this.#witness.values()].every((told) => told.length === 0) && this.settled;
    while (!idle() && rules.keeps('leaving')) {
      const epoch = this.#epoch;
      const { route } = this;
      try {
        if (epoch === undefined) yield () => this.#inFlight === 0;
        else this.#learn(epoch, yield* world.call(this.process, route, 'look', () => route.look(epoch)));
        yield undefined;
      } catch (error) {
        this.#setting.lost(error, this);
      }
    }
    for (;;) {
      try {
        yield* world.call(this.process, mysql, 'leave', () => mysql.forgetWorker(this.name));
        break;
      } catch (error) {
        if (!(error instanceof Lost)) throw error;
      }
    }
    this.left = true;
    world.kill(this.process);
  }
}

function answerOf(request: Request, reply: Reply): Answer {
  if (request.kind === 'claim') {
    return reply.code === 'claimed' || reply.code === 'already_claimed' ? 'claimed' : 'refused';
  }
  return reply.code === 'returned' ? 'returned' : 'refused';
}
