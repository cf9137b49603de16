// Connections to MySQL or MariaDB, with the session pinned so that both behave the same everywhere: strict mode,
// READ COMMITTED, UTC. Nothing else in the project creates a mysql2 connection.
import mysql from 'mysql2/promise';
import type { Connection, Pool, PoolConnection, PoolOptions } from 'mysql2/promise';

export type { Connection, Pool, PoolConnection, ResultSetHeader, RowDataPacket } from 'mysql2/promise';

const CONNECT_TIMEOUT_MS = 5_000;
/** Longest that a request may wait for a free connection of the pool. */
const QUEUE_LIMIT = 1_000;
const DEADLOCK_ATTEMPTS_MAX = 10;

// Strict: a value that does not fit is an error, never cut. READ COMMITTED: no gap locks, no stale snapshots.
const PIN_SESSION =
  "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', " +
  "time_zone = '+00:00', transaction_isolation = 'READ-COMMITTED', innodb_lock_wait_timeout = 10";
// MariaDB before 11.1 knows the isolation only under its older name.
const PIN_SESSION_MARIADB = PIN_SESSION.replace('transaction_isolation', 'tx_isolation');

/** A pool of at most `connections`; every connection is pinned before its first use. */
export function createMysqlPool(url: string, connections: number): Pool {
  return mysql.createPool({
    ...optionsOf(url),
    connectionLimit: connections,
    queueLimit: QUEUE_LIMIT,
    maxIdle: connections,
  });
}

/** One connection, pinned. The caller ends it. */
export async function connectMysql(
  url: string,
  extra: Pick<PoolOptions, 'multipleStatements'> = {},
): Promise<Connection> {
  const connection = await mysql.createConnection({ ...optionsOf(url), ...extra });
  await pinSession(connection);
  return connection;
}

function optionsOf(url: string): PoolOptions {
  return {
    uri: url,
    connectTimeout: CONNECT_TIMEOUT_MS,
    charset: 'utf8mb4_bin',
    timezone: 'Z',
    enableKeepAlive: true,
    supportBigNumbers: true,
  };
}

const pinned = new WeakSet();

/**
 * A pinned connection of the pool, given back (or thrown away after an error that leaves its state unknown) when `use` ends.
 */
export async function withConnection<T>(pool: Pool, use: (connection: PoolConnection) => Promise<T>): Promise<T> {
  const connection = await pool.getConnection();
  try {
    // The wrapper is new at every checkout; the connection under it is what lives on.
    if (!pinned.has(connection.connection)) {
      await pinSession(connection);
      pinned.add(connection.connection);
    }
    const result = await use(connection);
    connection.release();
    return result;
  } catch (error) {
    connection.destroy();
    throw error;
  }
}

async function pinSession(connection: Connection | PoolConnection): Promise<void> {
  const [rows] = await connection.query<mysql.RowDataPacket[]>('SELECT VERSION() AS version');
  const mariadb = String(rows[0]?.['version']).includes('MariaDB');
  await connection.query(mariadb ? PIN_SESSION_MARIADB : PIN_SESSION);
}

/**
 * Runs `work` in a transaction and commits, again on a deadlock or lock time-out (1213, 1205). `work` may run several
 * times. An error during COMMIT leaves the outcome unknown: callers must be able to repeat.
 */
export async function inTransaction<T>(pool: Pool, work: (connection: PoolConnection) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await withConnection(pool, (connection) => transaction(connection, () => work(connection)));
    } catch (error) {
      if (!isLockConflict(error) || attempt === DEADLOCK_ATTEMPTS_MAX) throw error;
    }
  }
}

/** BEGIN, `work`, COMMIT on one connection; ROLLBACK when `work` throws. */
export async function transaction<T>(connection: Connection | PoolConnection, work: () => Promise<T>): Promise<T> {
  await connection.query('START TRANSACTION');
  try {
    const result = await work();
    await connection.query('COMMIT');
    return result;
  } catch (error) {
    // The connection may be the thing that broke; the first error is the one to tell.
    await connection.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/** The server's error number, e.g. 1062 for a duplicate key; undefined for errors of the connection. */
export function mysqlErrno(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('errno' in error)) return undefined;
  // Errors of the connection carry an errno as well, but a negative one.
  return typeof error.errno === 'number' && error.errno > 0 ? error.errno : undefined;
}

const ER_LOCK_WAIT_TIMEOUT = 1205;
const ER_LOCK_DEADLOCK = 1213;
export const ER_DUP_ENTRY = 1062;

export function isLockConflict(error: unknown): boolean {
  const errno = mysqlErrno(error);
  return errno === ER_LOCK_DEADLOCK || errno === ER_LOCK_WAIT_TIMEOUT;
}
