// What each fault does to the deployment, and undoes again. Carries out a schedule; faults of one target never overlap.
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../platform/errors.js';
import type { Database, Deployment, Proxies } from './deployment.js';
import type { ProxyMode } from './fault-proxy.js';
import { now } from './history.js';
import type { Instance, Role } from './instance.js';
import { at } from './random.js';
import { lockAgainstTheLedger } from './deadlocks.js';
import type { PlannedFault } from './schedule.js';
import { partsOf } from './schedule.js';

/** Latency of the `delay-` faults, each way. */
const DELAY_MS_MIN = 20;
const DELAY_MS_MAX = 500;
/** A fault that cannot get at its target, say a worker that is just being replaced, looks again this often, … */
const TARGET_POLL_MS = 100;
/** … for so long; then it does not happen. */
const TARGET_TIMEOUT_MS = 5_000;

/** A fault as it happened. Times are epoch milliseconds. */
export interface HappenedFault extends PlannedFault {
  readonly beganAt: number;
  readonly endedAt: number;
  /** Why it did not happen, or not as planned. */
  readonly problem?: string;
}

/** Resolves when the last fault is over. An abort leaves out what has not begun, and undoes what has. */
export async function carryOut(
  planned: readonly PlannedFault[],
  deployment: Deployment,
  signal: AbortSignal,
): Promise<HappenedFault[]> {
  const startedAt = now();
  const busy = new Map<string, Promise<unknown>>();
  const happened: HappenedFault[] = [];
  for (const fault of planned) {
    await pause(startedAt + fault.atMs - now(), signal);
    if (signal.aborted) break;
    const parts = partsOf(fault.target);
    const doing = Promise.all(parts.map((part) => busy.get(part) ?? Promise.resolve())).then(async () => {
      if (signal.aborted) return;
      const beganAt = now();
      const problem = await inject(fault, deployment, signal).then(() => undefined, messageOf);
      happened.push({ ...fault, beganAt, endedAt: now(), ...(problem !== undefined && { problem }) });
    });
    for (const part of parts) busy.set(part, doing);
  }
  await Promise.all(busy.values());
  return happened;
}

type Inject = (fault: PlannedFault, deployment: Deployment, signal: AbortSignal) => Promise<void>;

async function inject(fault: PlannedFault, deployment: Deployment, signal: AbortSignal): Promise<void> {
  const doing = FAULTS[fault.fault];
  if (doing === undefined) throw new Error(`there is no fault ${fault.fault}`);
  await doing(fault, deployment, signal);
}

const FAULTS: Readonly<Record<string, Inject>> = {
  'kill-http': killWorker('http'),
  'kill-ledger': killWorker('ledger'),
  'kill-admin': killWorker('admin'),
  'kill-primary': endInstance((instance) => instance.kill()),
  restart: endInstance((instance) => instance.stop()),
  reload: async (fault, deployment, signal) => {
    // A primary without workers has only just begun to start, and the signal would end it.
    await workerOf(fault, deployment, 'http', signal);
    instanceOf(fault, deployment).signal('SIGHUP');
  },
  'pause-http': pauseWorker('http'),
  'pause-ledger': pauseWorker('ledger'),
  'pause-admin': pauseWorker('admin'),
  'pause-primary': async (fault, deployment, signal) => {
    const instance = instanceOf(fault, deployment);
    instance.signal('SIGSTOP');
    await pause(fault.lastsMs, signal);
    instance.signal('SIGCONT');
  },
  'pause-redis': pauseDatabase((deployment) => deployment.redis),
  'pause-mysql': pauseDatabase((deployment) => deployment.mysql),
  'full-outbox': pauseDatabase((deployment) => deployment.mysql),
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
  'script-flush': async (_fault, { observer }) => {
    await observer.redis.script('FLUSH');
  },
  'client-kill': async (_fault, { observer }) => {
    await observer.redis.client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  },
  'mysql-deadlocks': async ({ lastsMs }, { observer }, signal) => {
    const until = now() + lastsMs;
    while (now() < until && !signal.aborted) await lockAgainstTheLedger(observer.root, signal);
  },
  'restart-all': endAll(
    (instance) => instance.stop(),
    (database) => database.stop(),
  ),
  'kill-all': endAll(
    (instance) => instance.kill(),
    (database) => database.kill(),
  ),
  'mysql-read-only': async ({ lastsMs }, { observer }, signal) => {
    const set = (value: 0 | 1) => observer.root.query('SET GLOBAL read_only = ?', [value]);
    try {
      await set(1);
      await pause(lastsMs, signal);
    } finally {
      await set(0);
    }
  },
};

function killWorker(role: Role): Inject {
  return async (fault, deployment, signal) => {
    process.kill(await workerOf(fault, deployment, role, signal), 'SIGKILL');
  };
}

function pauseWorker(role: Role): Inject {
  return async (fault, deployment, signal) => {
    const pid = await workerOf(fault, deployment, role, signal);
    process.kill(pid, 'SIGSTOP');
    await pause(fault.lastsMs, signal);
    process.kill(pid, 'SIGCONT');
  };
}

function endInstance(end: (instance: Instance) => Promise<unknown>): Inject {
  return async (fault, deployment, signal) => {
    const instance = instanceOf(fault, deployment);
    await end(instance);
    await pause(fault.lastsMs, signal);
    instance.start();
  };
}

function endAll(
  end: (instance: Instance) => Promise<unknown>,
  endDatabase: (database: Database) => Promise<void>,
): Inject {
  return async ({ lastsMs }, { instances, redis, mysql }, signal) => {
    await Promise.all(instances.map(end));
    await Promise.all([redis, mysql].map(endDatabase));
    await pause(lastsMs, signal);
    await Promise.all([redis, mysql].map((database) => database.startAgain()));
    for (const instance of instances) instance.start();
  };
}

function pauseDatabase(of: (deployment: Deployment) => Database): Inject {
  return async (fault, deployment, signal) => {
    const database = of(deployment);
    database.signal('SIGSTOP');
    await pause(fault.lastsMs, signal);
    database.signal('SIGCONT');
  };
}

function killDatabase(of: (deployment: Deployment) => Database): Inject {
  return async (fault, deployment, signal) => {
    const database = of(deployment);
    await database.kill();
    await pause(fault.lastsMs, signal);
    await database.startAgain();
  };
}

function disturb(database: keyof Proxies, mode: Exclude<ProxyMode, 'pass'>): Inject {
  return async (fault, deployment, signal) => {
    const proxy = numbered(deployment.proxies, fault)[database];
    proxy.misbehave(mode, DELAY_MS_MIN + fault.which * (DELAY_MS_MAX - DELAY_MS_MIN));
    await pause(fault.lastsMs, signal);
    proxy.behave();
  };
}

async function workerOf(fault: PlannedFault, deployment: Deployment, role: Role, signal: AbortSignal): Promise<number> {
  const deadline = Date.now() + TARGET_TIMEOUT_MS;
  for (;;) {
    const workers = instanceOf(fault, deployment).workers(role);
    if (workers.length > 0) return at(fault.which, workers);
    if (Date.now() > deadline || signal.aborted) throw new Error(`${fault.target} has no ${role} worker now`);
    await pause(TARGET_POLL_MS, signal);
  }
}

function instanceOf(fault: PlannedFault, deployment: Deployment): Instance {
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
