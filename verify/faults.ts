// What each fault does to the deployment, and undoes again, and how much of it was seen to hit. Carries out a schedule; faults of
// one target never overlap.
import { stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../platform/errors.js';
import { whenRedisReady } from '../platform/redis.js';
import type { Database, Deployment, Proxies } from './deployment.js';
import type { ProxyMode } from './fault-proxy.js';
import type { History, Operation } from './history.js';
import { now } from './history.js';
import type { Instance, Role } from './instance.js';
import { at } from './random.js';
import { lockAgainstTheLedger } from './deadlocks.js';
import type { PlannedFault } from './schedule.js';
import { partsOf } from './schedule.js';
import { readServiceLog } from './service-log.js';

/** Latency of the `delay-` faults, each way. */
const DELAY_MS_MIN = 20;
const DELAY_MS_MAX = 500;
/** A fault that cannot get at its target, say a worker that is just being replaced, looks again this often, … */
const TARGET_POLL_MS = 100;
/** … for so long; then it does not happen. */
const TARGET_TIMEOUT_MS = 5_000;

/** A target that does not work again in this time is hit all the same. */
const READY_LIMIT_MS = 20_000;
/** Claims that come slowly get this much longer to be as far ahead of MariaDB as they may. */
const BACKLOG_LIMIT_MS = 20_000;
/** What a ledger says of a batch that it writes again (workers/ledger/shard-ledger.ts). */
const NOT_WRITTEN = 'batch not written, trying again';

/** A fault as it happened. Times are epoch milliseconds. */
export interface HappenedFault extends PlannedFault {
  readonly beganAt: number;
  readonly endedAt: number;
  /** How much was seen to be hit, in the unit of its kind (fault-kinds.ts); 0: it had no effect that was seen. */
  readonly hits: number;
  /** Why it did not happen, or not as planned. */
  readonly problem?: string;
}

interface Stage {
  readonly deployment: Deployment;
  readonly history: History;
  readonly signal: AbortSignal;
  /** No fault begins any more. */
  readonly late: AbortSignal;
}

/** Resolves when the last fault is over. An abort leaves out what has not begun, and undoes what has. */
export async function carryOut(planned: readonly PlannedFault[], stage: Stage): Promise<HappenedFault[]> {
  const { signal, late } = stage;
  const startedAt = now();
  const busy = new Map<string, Promise<unknown>>();
  const happened: HappenedFault[] = [];
  for (const fault of planned) {
    await pause(startedAt + fault.atMs - now(), late);
    const parts = partsOf(fault.target);
    const doing = Promise.all(parts.map((part) => busy.get(part) ?? Promise.resolve())).then(async () => {
      if (!fault.hurried) await whenTargetWorks(fault, stage);
      if (signal.aborted || late.aborted) return;
      const beganAt = now();
      const outcome = await inject(fault, stage).then(
        (hits) => ({ hits }),
        (error: unknown) => ({ hits: 0, problem: messageOf(error) }),
      );
      happened.push({ ...fault, beganAt, endedAt: now(), ...outcome });
    });
    for (const part of parts) busy.set(part, doing);
  }
  await Promise.all(busy.values());
  return happened;
}

/** Waits, within a limit, until the instance of the fault is ready; where the target is another, until all are. */
async function whenTargetWorks({ target }: PlannedFault, { deployment, late }: Stage): Promise<void> {
  const concerned = deployment.instances.filter(
    ({ number }) => !target.startsWith('instance-') || target === `instance-${number}`,
  );
  const deadline = Date.now() + READY_LIMIT_MS;
  for (const instance of concerned) {
    while (!late.aborted && Date.now() < deadline && !(await instance.isReady())) await pause(TARGET_POLL_MS, late);
  }
}

/** Resolves with the hits. */
type Inject = (fault: PlannedFault, stage: Stage) => Promise<number>;

async function inject(fault: PlannedFault, stage: Stage): Promise<number> {
  const doing = FAULTS[fault.fault];
  if (doing === undefined) throw new Error(`there is no fault ${fault.fault}`);
  return await doing(fault, stage);
}

const FAULTS: Readonly<Record<string, Inject>> = {
  'kill-http': killWorker('http'),
  'kill-ledger': killWorker('ledger'),
  'kill-admin': killWorker('admin'),
  'kill-primary': endInstance((instance) => instance.kill()),
  restart: endInstance((instance) => instance.stop()),
  reload: async (fault, stage) => {
    // A primary without workers has only just begun to start, and takes no signal for a reload yet.
    await workerOf(fault, stage, 'http');
    instanceOf(fault, stage).signal('SIGHUP');
    return 1;
  },
  'pause-http': pauseWorker('http'),
  'pause-ledger': pauseWorker('ledger'),
  'pause-admin': pauseWorker('admin'),
  'pause-primary': async (fault, stage) => {
    const instance = instanceOf(fault, stage);
    instance.signal('SIGSTOP');
    await pause(fault.lastsMs, stage.signal);
    instance.signal('SIGCONT');
    return 1;
  },
  'pause-redis': pauseDatabase((deployment) => deployment.redis),
  'pause-mysql': pauseDatabase((deployment) => deployment.mysql),
  'full-outbox': async ({ lastsMs }, { deployment: { mysql }, history, signal }) => {
    const before = history.operations.length;
    const refused = (): number => history.operations.slice(before).filter(isLedgerBehind).length;
    mysql.signal('SIGSTOP');
    await pause(lastsMs, signal);
    const deadline = now() + BACKLOG_LIMIT_MS;
    while (refused() === 0 && now() < deadline && !signal.aborted) await pause(TARGET_POLL_MS, signal);
    mysql.signal('SIGCONT');
    return refused();
  },
  'kill-redis': killDatabase((deployment) => deployment.redis),
  'kill-mysql': killDatabase((deployment) => deployment.mysql),
  'cut-redis-requests': disturb('redis', 'cut-request'),
  'cut-redis-replies': disturb('redis', 'cut-reply'),
  'cut-mysql-requests': disturb('mysql', 'cut-request'),
  'cut-mysql-replies': disturb('mysql', 'cut-reply'),
  'delay-redis': disturb('redis', 'delay'),
  'delay-mysql': disturb('mysql', 'delay'),
  'part-redis': disturb('redis', 'hold'),
  'part-mysql': disturb('mysql', 'hold'),
  'refuse-redis': disturb('redis', 'refuse'),
  'refuse-mysql': disturb('mysql', 'refuse'),
  'script-flush': async (_fault, { deployment }) => {
    const { redis } = deployment.observer;
    await whenRedisReady(redis, TARGET_TIMEOUT_MS);
    const cached = Number(/^number_of_cached_scripts:(\d+)/m.exec(await redis.info('memory'))?.[1] ?? 0);
    await redis.script('FLUSH');
    return cached;
  },
  'client-kill': async (_fault, { deployment }) => {
    await whenRedisReady(deployment.observer.redis, TARGET_TIMEOUT_MS);
    return Number(await deployment.observer.redis.client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes'));
  },
  'mysql-deadlocks': metByLedgers(/^Deadlock found/, async ({ lastsMs }, { deployment, signal }) => {
    const until = now() + lastsMs;
    while (now() < until && !signal.aborted) await lockAgainstTheLedger(deployment.observer.root, signal);
  }),
  'restart-all': endAll(
    (instance) => instance.stop(),
    (database) => database.stop(),
  ),
  'kill-all': endAll(
    (instance) => instance.kill(),
    (database) => database.kill(),
  ),
  'mysql-read-only': metByLedgers(/--read-only option/, async ({ lastsMs }, { deployment, signal }) => {
    const set = (value: 0 | 1) => deployment.observer.root.query('SET GLOBAL read_only = ?', [value]);
    try {
      await set(1);
      await pause(lastsMs, signal);
    } finally {
      await set(0);
    }
  }),
};

/**
 * Counts the batches that MySQL refused the ledgers with this message meanwhile, and that they wrote again, by what their logs
 * say. Of an error of a writer thread only the message comes through.
 */
function metByLedgers(message: RegExp, doing: (fault: PlannedFault, stage: Stage) => Promise<void>): Inject {
  return async (fault, stage) => {
    const logs = stage.deployment.instances.map((instance) => instance.logFile);
    const sizes = await Promise.all(logs.map(async (log) => (await stat(log)).size));
    await doing(fault, stage);
    let met = 0;
    for (const [i, log] of logs.entries()) {
      for await (const { msg, err } of readServiceLog(log, sizes[i])) {
        if (msg === NOT_WRITTEN && message.test(err?.message ?? '')) met++;
      }
    }
    return met;
  };
}

function isLedgerBehind(operation: Operation): boolean {
  const { kind, outcome } = operation;
  return kind === 'claim' && outcome.result === 'refused' && outcome.code === 'ledger_behind';
}

function killWorker(role: Role): Inject {
  return async (fault, stage) => {
    process.kill(await workerOf(fault, stage, role), 'SIGKILL');
    return 1;
  };
}

function pauseWorker(role: Role): Inject {
  return async (fault, stage) => {
    const pid = await workerOf(fault, stage, role);
    process.kill(pid, 'SIGSTOP');
    await pause(fault.lastsMs, stage.signal);
    process.kill(pid, 'SIGCONT');
    return 1;
  };
}

function endInstance(end: (instance: Instance) => Promise<unknown>): Inject {
  return async (fault, stage) => {
    const instance = instanceOf(fault, stage);
    const hits = instance.running ? 1 : 0;
    await end(instance);
    await pause(fault.lastsMs, stage.signal);
    instance.start();
    return hits;
  };
}

function endAll(
  end: (instance: Instance) => Promise<unknown>,
  endDatabase: (database: Database) => Promise<void>,
): Inject {
  return async ({ lastsMs }, { deployment: { instances, redis, mysql }, signal }) => {
    const hits = instances.filter((instance) => instance.running).length + 2;
    await Promise.all(instances.map(end));
    await Promise.all([redis, mysql].map(endDatabase));
    await pause(lastsMs, signal);
    await Promise.all([redis, mysql].map((database) => database.startAgain()));
    for (const instance of instances) instance.start();
    return hits;
  };
}

function pauseDatabase(of: (deployment: Deployment) => Database): Inject {
  return async (fault, { deployment, signal }) => {
    const database = of(deployment);
    database.signal('SIGSTOP');
    await pause(fault.lastsMs, signal);
    database.signal('SIGCONT');
    return 1;
  };
}

function killDatabase(of: (deployment: Deployment) => Database): Inject {
  return async (fault, { deployment, signal }) => {
    const database = of(deployment);
    await database.kill();
    await pause(fault.lastsMs, signal);
    await database.startAgain();
    return 1;
  };
}

function disturb(database: keyof Proxies, mode: Exclude<ProxyMode, 'pass'>): Inject {
  return async (fault, { deployment, signal }) => {
    const proxy = numbered(deployment.proxies, fault)[database];
    proxy.misbehave(mode, DELAY_MS_MIN + fault.which * (DELAY_MS_MAX - DELAY_MS_MIN));
    await pause(fault.lastsMs, signal);
    return proxy.behave();
  };
}

async function workerOf(fault: PlannedFault, { deployment, signal }: Stage, role: Role): Promise<number> {
  const deadline = Date.now() + TARGET_TIMEOUT_MS;
  for (;;) {
    const workers = numbered(deployment.instances, fault).workers(role);
    if (workers.length > 0) return at(fault.which, workers);
    if (Date.now() > deadline || signal.aborted) throw new Error(`${fault.target} has no ${role} worker now`);
    await pause(TARGET_POLL_MS, signal);
  }
}

function instanceOf(fault: PlannedFault, { deployment }: Stage): Instance {
  return numbered(deployment.instances, fault);
}

function numbered<T>(list: readonly T[], { target }: PlannedFault): T {
  const found = list[target === 'instance-2' ? 1 : 0];
  if (found === undefined) throw new Error(`there is no ${target}`);
  return found;
}

/** Ends early when the run does; whoever waits then goes on and undoes what it did. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(Math.max(0, ms), undefined, { signal }).catch(() => undefined);
}
