// The catalogue of faults: names, meanings, targets, lengths, what is counted of them. What each does is in faults.ts.
import type { FaultEffect, FaultKind, Target } from './schedule.js';

const INSTANCES: readonly Target[] = ['instance-1', 'instance-2'];
const MOMENT = [0, 0] as const;
/** Below and above every time limit of a request. */
const PAUSE_MS = [1_000, 5_000] as const;
const DISTURBANCE_MS = [500, 3_000] as const;
const OUTAGE_MS = [200, 4_000] as const;
/** Longer than claims can run ahead of MySQL (LEDGER_WINDOW in deployment.ts). */
const BACKLOG_MS = [6_000, 10_000] as const;
/** A drain may be cut short while a database is away, so a process that is told to end may leave something unsaid, too. */
const DIE: FaultEffect = { workers: 'die' };
const AWAY: FaultEffect = { workers: 'away' };
const ALL: FaultEffect = { workers: 'die', redisEnds: true };
/** What is counted to see whether a fault had an effect; of those that are not here: processes that got their signal. */
const HITS: Readonly<Record<string, string>> = {
  'full-outbox': 'claims refused as ledger_behind',
  'cut-redis-requests': 'connections cut',
  'cut-redis-replies': 'connections cut',
  'cut-mysql-requests': 'connections cut',
  'cut-mysql-replies': 'connections cut',
  'delay-redis': 'chunks delayed',
  'delay-mysql': 'chunks delayed',
  'part-redis': 'connections held',
  'part-mysql': 'connections held',
  'refuse-redis': 'connections cut or refused',
  'refuse-mysql': 'connections cut or refused',
  'script-flush': 'scripts forgotten',
  'client-kill': 'connections closed',
  'mysql-read-only': 'batches of a ledger refused, and tried again',
  'mysql-deadlocks': 'batches of a ledger lost to a deadlock, and tried again',
};

function kind(
  name: string,
  meaning: string,
  targets: readonly Target[],
  lastsMs: FaultKind['lastsMs'],
  effect: FaultEffect = {},
): FaultKind {
  return { name, meaning, targets, lastsMs, effect, hits: HITS[name] ?? 'processes' };
}

export const FAULT_KINDS: readonly FaultKind[] = [
  kind('kill-http', 'SIGKILL of one http worker', INSTANCES, MOMENT, DIE),
  kind('kill-ledger', 'SIGKILL of the ledger worker', INSTANCES, MOMENT),
  kind('kill-admin', 'SIGKILL of the admin worker', INSTANCES, MOMENT),
  kind('kill-primary', 'SIGKILL of the primary, and a start after a while', INSTANCES, OUTAGE_MS, DIE),
  kind('restart', 'SIGTERM of an instance, and a start after a while', INSTANCES, OUTAGE_MS, DIE),
  kind('reload', 'SIGHUP of an instance: a rolling reload', INSTANCES, MOMENT, DIE),
  kind('pause-http', 'SIGSTOP of one http worker, then SIGCONT', INSTANCES, PAUSE_MS, AWAY),
  kind('pause-ledger', 'SIGSTOP of the ledger worker, then SIGCONT', INSTANCES, PAUSE_MS),
  kind('pause-admin', 'SIGSTOP of the admin worker, then SIGCONT', INSTANCES, PAUSE_MS),
  kind('pause-primary', 'SIGSTOP of the primary, then SIGCONT', INSTANCES, PAUSE_MS),
  kind('pause-redis', 'SIGSTOP of Redis, then SIGCONT', ['redis'], PAUSE_MS),
  kind('pause-mysql', 'SIGSTOP of MariaDB, then SIGCONT', ['mysql'], PAUSE_MS),
  kind('kill-redis', 'SIGKILL of Redis, and a start after a while', ['redis'], OUTAGE_MS, { redisEnds: true }),
  kind('kill-mysql', 'SIGKILL of MariaDB, and a start after a while', ['mysql'], OUTAGE_MS),
  kind('cut-redis-requests', 'connections to Redis cut before it sees the request', INSTANCES, DISTURBANCE_MS),
  kind('cut-redis-replies', 'connections to Redis cut after the script, before its reply', INSTANCES, DISTURBANCE_MS),
  kind('cut-mysql-requests', 'connections to MariaDB cut before it sees the request', INSTANCES, DISTURBANCE_MS, AWAY),
  kind('cut-mysql-replies', 'connections to MariaDB cut before its reply', INSTANCES, DISTURBANCE_MS, AWAY),
  kind('delay-redis', 'latency of 20 to 500 ms each way to Redis', INSTANCES, DISTURBANCE_MS),
  kind('delay-mysql', 'latency of 20 to 500 ms each way to MariaDB', INSTANCES, DISTURBANCE_MS, AWAY),
  kind('part-redis', 'nothing passes between an instance and Redis, and no connection closes', INSTANCES, PAUSE_MS),
  kind(
    'part-mysql',
    'nothing passes between an instance and MariaDB, and no connection closes',
    INSTANCES,
    PAUSE_MS,
    AWAY,
  ),
  kind('refuse-redis', 'all connections of an instance to Redis cut, new ones too', INSTANCES, OUTAGE_MS),
  kind('refuse-mysql', 'all connections of an instance to MariaDB cut, new ones too', INSTANCES, OUTAGE_MS, AWAY),
  kind('script-flush', 'SCRIPT FLUSH: Redis forgets its scripts', ['redis'], MOMENT),
  kind('client-kill', 'CLIENT KILL of every connection to Redis', ['redis'], MOMENT),
  kind('mysql-read-only', 'SET GLOBAL read_only = 1 on MariaDB, then 0', ['mysql'], DISTURBANCE_MS),
  kind(
    'mysql-deadlocks',
    'a session of MariaDB locks what the ledger wants, and wants what it has',
    ['mysql'],
    DISTURBANCE_MS,
  ),
  kind('full-outbox', 'SIGSTOP of MariaDB until claims are as far ahead of it as they may', ['mysql'], BACKLOG_MS),
  kind('restart-all', 'SIGTERM of everything, Redis and MariaDB too, and a start', ['everything'], OUTAGE_MS, ALL),
  kind('kill-all', 'SIGKILL of everything, as if the power failed, and a start', ['everything'], OUTAGE_MS, ALL),
];
