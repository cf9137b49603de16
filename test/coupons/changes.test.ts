// Changes of coupons, with the process that makes them dying at every single step: before and after each call to MySQL and
// to Redis. Whoever comes next finishes the change, exactly once.
import { beforeAll, describe, expect, it } from 'vitest';
import type { CouponsService } from '../../coupons/coupons.js';
import { couponsOver } from '../../coupons/mysql-redis-coupons.js';
import type { Connection, Pool } from '../../platform/mysql.js';
import type { Redis } from '../../platform/redis.js';
import type { Installation } from '../harness/installation.js';
import { createInstallation } from '../harness/installation.js';
import { waitFor } from '../harness/wait-for.js';

let installation: Installation;
let coupons: CouponsService;

beforeAll(async () => {
  installation = await createInstallation();
  await installation.startLedger();
  coupons = await installation.startCoupons();
});

const definition = (couponId: string) => ({
  ...{ couponId, total: 10, opensAt: null, closesAt: null, ack: undefined, returnable: false },
});
const more = { delta: 5, reason: 'more', idempotencyKey: 'more', by: 'test' };
const less = { delta: -4, reason: 'less', idempotencyKey: 'less', by: 'test' };
const tooMuch = { delta: -11, reason: 'too much', idempotencyKey: 'too-much', by: 'test' };

/** What an operator does, and what must be true when it was done once, however often it was tried. */
const operations = [
  {
    name: 'create',
    prepare: () => Promise.resolve(),
    run: (service: CouponsService, id: string) => service.create(definition(id)),
    expected: { version: 1, total: 10, paused: false, live: { state: 'open', remaining: 10 } },
  },
  {
    name: 'pause',
    prepare: (id: string) => coupons.create(definition(id)),
    run: (service: CouponsService, id: string) => service.pause(id),
    expected: { version: 2, total: 10, paused: true, live: { state: 'paused', remaining: 10 } },
  },
  {
    name: 'more stock',
    prepare: (id: string) => coupons.create(definition(id)),
    run: (service: CouponsService, id: string) => service.adjust(id, more),
    expected: { version: 2, total: 15, paused: false, live: { state: 'open', remaining: 15 } },
  },
  {
    name: 'less stock',
    prepare: (id: string) => coupons.create(definition(id)),
    run: (service: CouponsService, id: string) => service.adjust(id, less),
    expected: { version: 2, total: 6, paused: false, live: { state: 'open', remaining: 6 } },
  },
  {
    name: 'less stock than there is',
    prepare: (id: string) => coupons.create(definition(id)),
    run: async (service: CouponsService, id: string) => {
      await expect(service.adjust(id, tooMuch)).rejects.toMatchObject({ code: 'below_claimed' });
    },
    expected: { version: 2, total: 10, paused: false, live: { state: 'open', remaining: 10 } },
  },
] as const;

describe.each(operations)('$name', ({ name, prepare, run, expected }) => {
  it.each(['before', 'after'] as const)('happens once, if the process dies %s any call to a database', async (when) => {
    let crashes = 0;
    for (let call = 1; ; call++) {
      const couponId = `${name.replaceAll(' ', '-')}-${when}-${call}`;
      await prepare(couponId);
      const crashed = await runAndCrash(call, when, (service) => run(service, couponId));
      if (crashed) {
        crashes++;
        // Somebody else comes by first: every second time the job that finishes what was forgotten.
        if (call % 2 === 0) await coupons.finish(couponId).catch(isUnknownCoupon);
      }
      // The operator hears nothing and asks again; twice, for good measure.
      await run(coupons, couponId);
      await run(coupons, couponId);
      expect(await coupons.show(couponId)).toMatchObject(expected);
      if (!crashed) break;
    }
    expect(crashes).toBeGreaterThan(5);
    expect((await coupons.audit()).invariants.filter((invariant) => invariant.violations > 0)).toEqual([]);
  });
});

it('finishes the change before, when the process that asked for it died, and then makes its own', async () => {
  await coupons.create(definition('queue'));
  // Dies right after it has asked: MySQL knows of the change, Redis does not.
  for (let call = 1; (await coupons.show('queue')).version === 1; call++) {
    await runAndCrash(call, 'after', (service) => service.adjust('queue', { ...more, idempotencyKey: `more-${call}` }));
  }
  expect(await coupons.show('queue')).toMatchObject({ version: 2, total: 10, live: { remaining: 10 } });
  await coupons.pause('queue');
  expect(await coupons.show('queue')).toMatchObject({ version: 3, total: 15, paused: true, live: { remaining: 15 } });
});

it('finishes a forgotten change by a scheduled job, with nobody asking', async () => {
  await coupons.create(definition('forgotten'));
  for (let call = 1; (await coupons.show('forgotten')).version === 1; call++) {
    await runAndCrash(call, 'after', (service) => service.pause('forgotten'));
  }
  await waitFor(async () => (await coupons.show('forgotten')).live?.state === 'paused', { what: 'the job to run' });
});

it('refuses another change under the same idempotency key', async () => {
  await coupons.create(definition('key'));
  await coupons.adjust('key', more);
  await expect(coupons.adjust('key', { ...more, delta: 6 })).rejects.toMatchObject({ code: 'idempotency_key_reused' });
  expect(await coupons.show('key')).toMatchObject({ total: 15 });
});

it('makes concurrent changes one after the other', async () => {
  await coupons.create(definition('busy'));
  const keys = Array.from({ length: 20 }, (_, i) => `key-${i % 10}`);
  await Promise.all(keys.map((idempotencyKey) => coupons.adjust('busy', { ...more, delta: 1, idempotencyKey })));
  expect(await coupons.show('busy')).toMatchObject({ version: 11, total: 20, live: { remaining: 20 } });
});

it('tells the definition of a coupon from another one with the same id', async () => {
  expect((await coupons.create(definition('same'))).created).toBe(true);
  expect((await coupons.create(definition('same'))).created).toBe(false);
  await expect(coupons.create({ ...definition('same'), total: 11 })).rejects.toMatchObject({ code: 'coupon_exists' });
  expect((await coupons.create(definition('SAME'))).created).toBe(true);
});

const CRASH = new Error('the process died');

/** True when the operation met its crash; false when it got through with fewer calls than that. */
async function runAndCrash(
  call: number,
  when: 'before' | 'after',
  run: (service: CouponsService) => Promise<unknown>,
): Promise<boolean> {
  const { settings, log } = installation;
  const fuse = new Fuse(call, when);
  const service = couponsOver({
    settings,
    log,
    redis: fuse.redis(installation.redis),
    mysql: fuse.pool(installation.mysql),
  });
  try {
    await run(service);
    return fuse.isBlown();
  } catch (error) {
    if (!fuse.isBlown()) throw error;
    return true;
  }
}

/** Lets a number of database calls through, and then none any more: to the databases that is a dead process. */
class Fuse {
  #calls = 0;
  readonly #limit: number;
  readonly #when: 'before' | 'after';

  constructor(limit: number, when: 'before' | 'after') {
    this.#limit = limit;
    this.#when = when;
  }

  isBlown(): boolean {
    return this.#calls >= this.#limit;
  }

  redis(redis: Redis): Redis {
    return this.#guard(redis, ['evalsha', 'eval', 'config']);
  }

  pool(pool: Pool): Pool {
    const guarded = this.#guard(pool, ['query']);
    return new Proxy(guarded, {
      get: (target, name) =>
        name === 'withConnection'
          ? <T>(use: (connection: Connection) => Promise<T>) =>
              pool.withConnection((connection) => use(this.#guard(connection, ['query'])))
          : (Reflect.get(target, name) as unknown),
    });
  }

  #guard<T extends object>(target: T, methods: readonly string[]): T {
    return new Proxy(target, {
      get: (object, name) => {
        const value = Reflect.get(object, name, object) as unknown;
        if (typeof value !== 'function') return value;
        const method = (value as (...args: unknown[]) => unknown).bind(object);
        return methods.includes(String(name)) ? (...args: unknown[]) => this.#call(() => method(...args)) : method;
      },
    });
  }

  async #call(call: () => unknown): Promise<unknown> {
    if (this.isBlown()) throw CRASH;
    this.#calls++;
    if (this.isBlown() && this.#when === 'before') throw CRASH;
    const result = await call();
    if (this.isBlown()) throw CRASH;
    return result;
  }
}

function isUnknownCoupon(error: unknown): void {
  expect(error).toMatchObject({ code: 'unknown_coupon' });
}
