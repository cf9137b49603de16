// Those outside: clients who claim, give back and repeat after an unknown answer, and operators who change the stock.
import type { Outcome, RedisNode } from './redis.js';
import type { Setting } from './setting.js';
import type { Process, Steps } from './world.js';
import type { Request, Worker } from './worker.js';

/** One user, one request at a time; an abandoned one is not heard any more. */
export class Client {
  readonly user: string;
  readonly process: Process;
  readonly #setting: Setting;
  open: Request | undefined;
  done = false;

  constructor(user: string, setting: Setting, requests: number) {
    this.user = user;
    this.#setting = setting;
    this.process = setting.world.process(user);
    setting.world.spawn(this.process, this.#run(requests));
  }

  *#run(requests: number): Steps {
    const { world, checks, returns } = this.#setting;
    const start = world.chance.happens(0.65) ? 0 : world.chance.between(0, COMES_WITHIN_STEPS);
    yield () => world.steps >= start || world.calm;
    for (let i = 0; i < requests; i++) {
      const gives = returns && checks.holds(this.user) && world.chance.happens(0.4);
      yield* this.#ask(gives ? 'return' : 'claim');
    }
    this.done = true;
  }

  *#ask(kind: Request['kind']): Steps {
    const { world, checks } = this.#setting;
    yield () => this.#setting.workersReady().length > 0;
    const worker: Worker | undefined = world.chance.pick(this.#setting.workersReady());
    if (worker === undefined) return;
    const request: Request = { user: this.user, kind, answer: undefined, no: 0, abandoned: false };
    if (kind === 'return') checks.asksReturn(this.user);
    this.open = request;
    worker.accept(request);
    yield () => request.answer !== undefined || request.abandoned || !worker.process.alive;
    request.abandoned = true;
    if (kind === 'return' && request.answer === 'refused') checks.returnRefused(this.user);
    this.open = undefined;
  }
}

/** A client that does not come at once comes within so many steps. */
const COMES_WITHIN_STEPS = 250;
/** An operator asks for the next change some time within so many steps. */
const ASKS_WITHIN_STEPS = 200;

/** Also finishes what a former operator process has left pending. */
export class Operator {
  readonly name: string;
  readonly process: Process;
  readonly #setting: Setting;
  route: RedisNode;

  /** The epoch of an earlier look: only for the broken rule. */
  #seenEpoch = 1;

  constructor(name: string, setting: Setting, changes: readonly number[]) {
    this.name = name;
    this.#setting = setting;
    this.process = setting.world.process(name);
    this.route = setting.master;
    setting.world.spawn(this.process, this.#run(changes));
  }

  *#run(changes: readonly number[]): Steps {
    const { world, mysql } = this.#setting;
    for (const delta of changes) {
      const start = world.steps + world.chance.between(0, ASKS_WITHIN_STEPS);
      yield () => world.steps >= start || world.calm;
      try {
        const asked = yield* world.call(this.process, mysql, `ask for ${delta} units`, () => mysql.ask(delta));
        if (asked === undefined) continue;
        const finished = yield* this.#finish();
        if (finished?.version === asked.version) this.#setting.checks.operatorHears(finished.version, finished.outcome);
      } catch (error) {
        this.#setting.lost(error, this);
      }
    }
    for (;;) {
      yield () => mysql.pending() !== undefined && mysql.isOpen;
      try {
        yield* this.#finish();
      } catch (error) {
        this.#setting.lost(error, this);
      }
      yield undefined;
    }
  }

  *#finish(): Steps<{ version: number; outcome: Outcome } | undefined> {
    const { world, mysql, rules } = this.#setting;
    const pending = yield* world.call(this.process, mysql, 'read the pending change', () => mysql.pending());
    if (pending === undefined) return undefined;
    const { version, delta } = pending;
    const epoch = rules.keeps('epoch of a change') ? pending.epoch : this.#seenEpoch;
    const { route } = this;
    const what = `change ${version} by ${delta} under ${epoch}`;
    const reply = yield* world.call(this.process, route, what, () => route.change(epoch, version, delta));
    if (reply === 'fenced' || reply === 'version_gap') {
      this.#seenEpoch = pending.epoch;
      return undefined;
    }
    const settle = `settle ${version} as ${reply} under ${epoch}`;
    const settled = yield* world.call(this.process, mysql, settle, () => mysql.settle(version, reply, epoch));
    const outcome = rules.keeps('operator hears MySQL') ? settled : reply;
    return outcome && { version, outcome };
  }
}
