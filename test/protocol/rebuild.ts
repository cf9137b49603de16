// The one procedure that brings a shard back. Overtaken at any step, it stops; a crash between two steps leaves a shard that
// is not open, and the next one begins at the beginning.
import type { Ledger } from './ledger.js';
import { describe, READ_COUNT } from './ledger.js';
import type { Shard } from './mysql.js';
import type { Lease, Pass } from './rebuild-tables.js';
import type { Steps } from './world.js';

/** Somebody else has the shard. */
class Overtaken extends Error {}

function held<T>(result: T | undefined | false): T {
  if (result === undefined || result === false) throw new Overtaken();
  return result;
}

/** How often the missing are asked for before it is decided without them. */
const WAITS_MAX = 3;
/** So long at the most, each time. */
const WAIT_STEPS_MAX = 200;
/** Probability that it waits for something new before it asks again. */
const PATIENT = 0.7;

export function* rebuild(ledger: Ledger, seen: Shard): Steps {
  try {
    yield* rebuildSteps(ledger, seen);
  } catch (error) {
    if (!(error instanceof Overtaken)) throw error;
    ledger.setting.world.note(ledger.name, () => 'was overtaken');
  } finally {
    ledger.token = '';
  }
}

function* rebuildSteps(ledger: Ledger, seen: Shard): Steps {
  const { setting, process, route } = ledger;
  const { world, mysql, tables, window, rules } = setting;
  const token = `${ledger.name}:${world.steps}`;
  const inMySql = <T>(what: string, body: () => T | undefined): Steps<T> =>
    held1(world.call(process, mysql, what, body));
  const inRedis = (what: string, body: () => boolean): Steps<boolean> => held1(world.call(process, route, what, body));

  ledger.token = token;
  const lease: Lease = yield* inMySql(`take epoch ${seen.epoch + 1}`, () => tables.take(seen, token));
  const { epoch } = lease;
  if (rules.keeps('fence first')) yield* inRedis(`begin ${epoch}`, () => route.rebuildBegin(epoch, token));

  yield* waitForReports(ledger, lease);
  const decided = yield* inMySql(`decide who is missing (${epoch})`, () => tables.decideMissing(lease));

  const passes = rules.keeps('newest first') ? (['newest', 'older'] as const) : (['older', 'newest'] as const);
  for (const pass of passes) {
    yield* gatherOutbox(ledger, lease, pass);
    yield* inMySql(`gather reports, ${pass} (${epoch})`, () => tables.gatherReports(lease, pass));
  }
  if (!rules.keeps('fence first')) yield* inRedis(`begin ${epoch}`, () => route.rebuildBegin(epoch, token));

  yield* inMySql(`withhold (${epoch})`, () => tables.withhold(lease, decided.missing));
  yield* inMySql(`mark gathered (${epoch})`, () => tables.markGathered(lease));
  yield* inMySql(`release (${epoch})`, () => tables.release(lease));
  yield* inMySql(`decide the pending change (${epoch})`, () => tables.settlePending(lease));

  const loaded = yield* inMySql(`read for the load (${epoch})`, () => tables.load(lease, window));
  const { stock, withheld, highest } = loaded.coupon;
  world.note(ledger.name, () => `loads stock ${stock}, withheld ${withheld}, highest ${highest}`);
  setting.checks.loads(loaded.coupon);
  yield* inRedis(`load begin ${epoch}`, () => route.loadBegin(epoch, token));
  for (let first = 0; first < loaded.rows.length; first += READ_COUNT) {
    const chunk = loaded.rows.slice(first, first + READ_COUNT);
    const receipts = chunk.map(([no, row]) => [row.user, { no, returned: row.returned }] as const);
    yield* inRedis(`load receipts ${epoch}`, () => route.loadReceipts(epoch, token, receipts));
  }
  yield* inRedis(`load finish ${epoch}`, () => route.loadFinish(epoch, token, loaded.coupon, loaded.rows.length));
  yield* inRedis(`open ${epoch}`, () => route.rebuildOpen(epoch, token));
  yield* inMySql(`open ${epoch}`, () => tables.open(lease));
}

function* held1<T>(call: Steps<T | undefined | false>): Steps<T> {
  return held(yield* call);
}

function* waitForReports(ledger: Ledger, lease: Lease): Steps {
  const { world, mysql, tables, provenDead } = ledger.setting;
  for (let wait = 0; wait < WAITS_MAX; wait++) {
    const seen = mysql.changes;
    const missing = held(
      yield* world.call(ledger.process, mysql, `who is missing? (${lease.epoch})`, () => tables.silent(lease)),
    );
    if (missing.every(provenDead)) return;
    const patient = world.calm || world.chance.happens(PATIENT);
    const end = world.steps + WAIT_STEPS_MAX;
    yield () => !patient || mysql.changes !== seen || missing.every(provenDead) || world.steps > end;
  }
}

function* gatherOutbox(ledger: Ledger, lease: Lease, pass: Pass): Steps {
  const { setting, process, route } = ledger;
  const { world, mysql, tables } = setting;
  const { epoch } = lease;
  let skipped = 0;
  for (;;) {
    const page = yield* world.call(process, route, 'read the outbox', () => route.read(Infinity));
    const entries = page.slice(skipped, skipped + READ_COUNT);
    if (entries.length === 0) return;
    const what = `gather ${entries.map((entry) => `${describe(entry)} (${entry.epoch})`).join(', ')}, ${pass} (${epoch})`;
    const ids = held(yield* world.call(process, mysql, what, () => tables.gather(lease, entries, pass)));
    skipped += entries.length - ids.length;
    if (ids.length === 0) continue;
    held(
      yield* world.call(process, route, `acknowledge ${ids.join(', ')} (${epoch})`, () =>
        route.acknowledge(epoch, 'rebuilding', ids, 0),
      ),
    );
  }
}
