// A ledger process: takes the outbox to MySQL, rebuilds a shard that does not stand, and clears away workers that are dead
// with nothing unconfirmed.
import type { Entry, RedisNode } from './redis.js';
import { rebuild } from './rebuild.js';
import type { Setting } from './setting.js';
import type { Process, Steps } from './world.js';

export const READ_COUNT = 2;

/** Probability, at each look, that the lease of another process has run out. */
const LEASE_LOST = 0.02;
/** Probability, at each turn, that it looks at the shard first. */
const WATCH = 0.3;

export class Ledger {
  readonly name: string;
  readonly process: Process;
  readonly setting: Setting;
  route: RedisNode;
  /** The token of the rebuild that this process is at. */
  token = '';
  /** Under which it writes; it does not look again before every read. */
  #epoch: number | undefined;

  constructor(name: string, setting: Setting) {
    this.name = name;
    this.setting = setting;
    this.process = setting.world.process(name);
    this.route = setting.master;
    setting.world.spawn(this.process, this.#run());
    setting.world.spawn(this.process, this.#clearDead());
  }

  *#run(): Steps {
    for (;;) {
      yield () => !this.#leaseHeld() && this.#hasWork();
      try {
        yield* this.#turn();
      } catch (error) {
        this.setting.lost(error, this);
      }
    }
  }

  /** Looking when there is nothing new would change nothing. */
  #hasWork(): boolean {
    const { mysql, rules } = this.setting;
    if (!mysql.isOpen || (mysql.hasLateReport && rules.keeps('late report fences'))) return true;
    return !this.route.up || !this.route.stands(mysql.shard.epoch) || this.route.read(READ_COUNT).length > 0;
  }

  /** Another process rebuilds. Its lease may run out at any time, also when it is only slow. */
  #leaseHeld(): boolean {
    const { mysql, world, ledgers } = this.setting;
    const { state, token } = mysql.shard;
    if (state !== 'rebuilding' || !ledgers.some((other) => other.process.alive && other.token === token)) return false;
    return world.calm || !world.chance.happens(LEASE_LOST);
  }

  *#turn(): Steps {
    const { world } = this.setting;
    if (this.#epoch === undefined || world.chance.happens(WATCH)) yield* this.#watch();
    if (this.#epoch !== undefined) yield* this.#writeSome(this.#epoch);
  }

  /** Looks whether the shard stands, and rebuilds it if not. */
  *#watch(): Steps {
    const { mysql, world, rules } = this.setting;
    this.#epoch = undefined;
    if (mysql.hasLateReport && rules.keeps('late report fences')) {
      yield* world.call(this.process, mysql, 'close for a late report', () => mysql.hasLateReport && mysql.fence());
    }
    const shard = yield* world.call(this.process, mysql, 'read the shard', () => ({ ...mysql.shard }));
    const { route } = this;
    const look = yield* world.call(this.process, route, 'look', () => route.look(shard.epoch));
    if (shard.state === 'open' && look.code !== 'fenced') this.#epoch = shard.epoch;
    else yield* rebuild(this, shard);
  }

  *#writeSome(epoch: number): Steps {
    const { mysql, world, rules, window } = this.setting;
    const { route } = this;
    const read = yield* world.call(this.process, route, 'read the outbox', () => route.read(READ_COUNT));
    const entries = read.filter((entry) => entry.epoch === epoch || !rules.keeps('own entries only'));
    if (entries.length === 0) {
      this.#epoch = undefined;
      return;
    }
    const ids = entries.map((entry) => entry.id);
    const acknowledge = (ceiling: number): Steps<boolean> =>
      world.call(this.process, route, `acknowledge ${ids.join(', ')} under ${epoch}`, () =>
        route.acknowledge(epoch, 'open', ids, ceiling),
      );
    if (!rules.keeps('commit before acknowledging')) yield* acknowledge(0);
    const what = `write ${entries.map(describe).join(', ')} under ${epoch}`;
    const written = yield* world.call(this.process, mysql, what, () => mysql.write(epoch, entries, window));
    const done = written !== undefined && (yield* acknowledge(written.ceiling));
    if (done) return;
    this.#epoch = undefined;
    const leftovers = `leave over ${entries.map(describe).join(', ')} of ${epoch}`;
    yield* world.call(this.process, mysql, leftovers, () => mysql.leaveOver(epoch, entries));
  }

  /** A dead worker tells nothing more: once the outbox has passed its newest entry, nothing it told is in doubt. */
  *#clearDead(): Steps {
    const { mysql, world, rules } = this.setting;
    const deadNow = (): string | undefined =>
      mysql.workerEpochs.find((row) => row.epoch === mysql.shard.epoch && this.setting.provenDead(row.worker))?.worker;
    for (;;) {
      yield () => mysql.isOpen && deadNow() !== undefined;
      const worker = deadNow();
      if (worker === undefined) continue;
      try {
        const { epoch } = yield* world.call(this.process, mysql, 'read the shard', () => ({ ...mysql.shard }));
        const { route } = this;
        let look = yield* world.call(this.process, route, 'look', () => route.look(epoch));
        const { newest } = look;
        while (look.code !== 'fenced' && look.below <= newest && rules.keeps('the dead are clean')) {
          yield () => !route.up || !route.stands(epoch) || (route.data.outbox?.[0]?.id ?? Infinity) > newest;
          look = yield* world.call(this.process, route, 'look', () => route.look(epoch));
        }
        if (look.code !== 'fenced') {
          const what = `clear away ${worker} under ${epoch}`;
          yield* world.call(this.process, mysql, what, () => mysql.forgetWorker(worker, epoch));
        }
      } catch (error) {
        this.setting.lost(error, this);
      }
      yield undefined;
    }
  }
}

export function describe(entry: Entry): string {
  return entry.kind === 'change' ? `version ${entry.version}` : `${entry.kind} ${entry.no} of ${entry.user}`;
}
