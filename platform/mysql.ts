// Connections to MySQL or MariaDB: every one with its session pinned, so that both behave the same everywhere (strict mode,
// READ COMMITTED, UTC), and every statement with a time limit. Nothing else in the project creates a mysql2 connection.
import mysql from 'mysql2/promise';
import type { FieldPacket, QueryResult, QueryValues, RowDataPacket } from 'mysql2/promise';

export type { ResultSetHeader, RowDataPacket } from 'mysql2/promise';
/** A value as it stands in a statement. For statements of many rows only: others have `?` for each value. */
export const { escape } = mysql;

const CONNECT_TIMEOUT_MS = 5_000;
/** A statement that takes longer is given up and its connection closed. The longest ones load a page of 1,000 rows. */
const QUERY_TIMEOUT_MS = 30_000;
/** Migrations may rebuild a large table. */
export const MIGRATION_TIMEOUT_MS = 3_600_000;
/** Callers that may wait for a free connection of one pool; the next one is refused. */
const QUEUE_LIMIT = 1_000;
const DEADLOCK_ATTEMPTS_MAX = 10;
/** A statement that waits longer for a lock is given up. */
const LOCK_WAIT_S = 10;

// Strict: a value that does not fit is an error, never cut. READ COMMITTED: no gap locks, no stale snapshots. wait_timeout: a
// process that is stopped in the middle of a transaction must not hold its locks for hours.
const PIN_SESSION =
  "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', " +
  "time_zone = '+00:00', transaction_isolation = 'READ-COMMITTED', innodb_lock_wait_timeout = ?, wait_timeout = 60";
// MariaDB before 11.1 knows the isolation only under its older name.
const PIN_SESSION_MARIADB = PIN_SESSION.replace('transaction_isolation', 'tx_isolation');

/** What statements are given to: a connection, or a pool that lends one for each statement. */
export interface Queryable {
  query<T extends QueryResult>(sql: string, values?: readonly unknown[]): Promise<[T, FieldPacket[]]>;
}

/** One connection with its session pinned. A statement over its time limit rejects and closes it. */
export class Connection implements Queryable {
  readonly #raw: mysql.Connection;
  readonly #queryTimeoutMs: number;
  #destroyed = false;

  constructor(raw: mysql.Connection, queryTimeoutMs: number) {
    this.#raw = raw;
    this.#queryTimeoutMs = queryTimeoutMs;
  }

  /** Marks the connection as destroyed when the server ends it, as it does with idle ones. */
  static watched(raw: mysql.Connection, queryTimeoutMs: number): Connection {
    const connection = new Connection(raw, queryTimeoutMs);
    const onEnd = (): void => {
      connection.#destroyed = true;
    };
    raw.on('end', onEnd);
    raw.on('error', onEnd);
    return connection;
  }

  async query<T extends QueryResult>(sql: string, values: readonly unknown[] = []): Promise<[T, FieldPacket[]]> {
    try {
      return await this.#raw.query<T>({ sql, values: values as QueryValues, timeout: this.#queryTimeoutMs });
    } catch (error) {
      // Not an answer of the server: whatever comes on this connection from now on belongs to nobody.
      if (mysqlErrno(error) === undefined) this.destroy();
      throw error;
    }
  }

  /** Says goodbye. */
  async end(): Promise<void> {
    await this.#raw.end();
  }

  /** Cuts the line; the server rolls back what was not committed. */
  destroy(): void {
    this.#destroyed = true;
    this.#raw.destroy();
  }

  get destroyed(): boolean {
    return this.#destroyed;
  }
}

/** Connections that are made when they are needed and used again. */
export class Pool implements Queryable {
  readonly #raw: mysql.Pool;
  readonly #queryTimeoutMs: number;
  /** The connections under mysql2's wrappers, which are new at every checkout. */
  readonly #pinned = new WeakSet();

  constructor(raw: mysql.Pool, queryTimeoutMs: number) {
    this.#raw = raw;
    this.#queryTimeoutMs = queryTimeoutMs;
  }

  /** One statement on any connection, committed by itself. */
  query<T extends QueryResult>(sql: string, values: readonly unknown[] = []): Promise<[T, FieldPacket[]]> {
    return this.withConnection((connection) => connection.query<T>(sql, values));
  }

  /** Lends a connection to `use`, which leaves it outside any transaction or destroyed. */
  async withConnection<T>(use: (connection: Connection) => Promise<T>): Promise<T> {
    const raw = await this.#raw.getConnection();
    const connection = new Connection(raw, this.#queryTimeoutMs);
    try {
      if (!this.#pinned.has(raw.connection)) {
        await pinSession(connection);
        this.#pinned.add(raw.connection);
      }
      return await use(connection);
    } finally {
      if (!connection.destroyed) raw.release();
    }
  }

  /** Closes every connection. Never rejects: mysql2 reports an attempt to connect that failed meanwhile, and that is closed too. */
  async end(): Promise<void> {
    await this.#raw.end().catch(() => undefined);
  }
}

/** A pool of at most `connections`. */
export function createMysqlPool(url: string, connections: number, queryTimeoutMs = QUERY_TIMEOUT_MS): Pool {
  const limits = { connectionLimit: connections, maxIdle: connections, queueLimit: QUEUE_LIMIT };
  return new Pool(mysql.createPool({ ...optionsOf(url), ...limits }), queryTimeoutMs);
}

/** One connection. The caller ends it. `lockWaitS`: whole seconds, 1 at the least. */
export async function connectMysql(
  url: string,
  { multipleStatements = false, queryTimeoutMs = QUERY_TIMEOUT_MS, lockWaitS = LOCK_WAIT_S } = {},
): Promise<Connection> {
  const raw = await mysql.createConnection({ ...optionsOf(url), multipleStatements });
  const connection = Connection.watched(raw, queryTimeoutMs);
  await pinSession(connection, lockWaitS);
  return connection;
}

function optionsOf(url: string): mysql.ConnectionOptions {
  return {
    uri: url,
    connectTimeout: CONNECT_TIMEOUT_MS,
    charset: 'utf8mb4_bin',
    timezone: 'Z',
    enableKeepAlive: true,
    supportBigNumbers: true,
  };
}

async function pinSession(connection: Connection, lockWaitS = LOCK_WAIT_S): Promise<void> {
  const [rows] = await connection.query<RowDataPacket[]>('SELECT VERSION() AS version');
  const mariadb = String(rows[0]?.['version']).includes('MariaDB');
  await connection.query(mariadb ? PIN_SESSION_MARIADB : PIN_SESSION, [lockWaitS]);
}

/**
 * Runs `work` in a transaction and commits, again on a deadlock or lock time-out (1213, 1205). `work` may run several
 * times. An error during COMMIT leaves the outcome unknown: callers must be able to repeat.
 */
export async function inTransaction<T>(pool: Pool, work: (connection: Connection) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await pool.withConnection((connection) => transaction(connection, () => work(connection)));
    } catch (error) {
      if (!isLockConflict(error) || attempt === DEADLOCK_ATTEMPTS_MAX) throw error;
    }
  }
}

/** BEGIN, `work`, COMMIT on one connection; ROLLBACK when `work` throws. */
export async function transaction<T>(connection: Connection, work: () => Promise<T>): Promise<T> {
  try {
    await connection.query('START TRANSACTION');
    const result = await work();
    await connection.query('COMMIT');
    return result;
  } catch (error) {
    // The connection may be the thing that broke; the first error is the one to tell.
    if (!connection.destroyed) await connection.query('ROLLBACK').catch(() => connection.destroy());
    throw error;
  }
}

/** The server's error number, e.g. 1062 for a duplicate key; undefined for errors of the connection. */
export function mysqlErrno(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('errno' in error)) return undefined;
  // Errors of the connection carry an errno as well, but a negative one.
  return typeof error.errno === 'number' && error.errno > 0 ? error.errno : undefined;
}

/** SQLSTATE classes that speak of the data of a statement: cardinality, data, constraint, check option, SIGNAL of a trigger. */
const DATA_CLASSES = new Set(['21', '22', '23', '44', '45']);
/** Such errors that have no class of their own: incorrect value, no default, no partition, CHECK constraint. */
const DATA_ERRNOS = new Set([1364, 1366, 1526, 3819, 4025]);
const ER_DUP_ENTRY_WITH_KEY_NAME = 1586;

/**
 * True when the server refuses the values of a statement, so that other values may be accepted. False for everything that
 * says something of the server or the connection, and for duplicate keys, which are for the caller to look at.
 */
export function isDataRefusal(error: unknown): boolean {
  const errno = mysqlErrno(error);
  if (errno === undefined || errno === ER_DUP_ENTRY || errno === ER_DUP_ENTRY_WITH_KEY_NAME) return false;
  const sqlState = (error as { sqlState?: unknown }).sqlState;
  return DATA_ERRNOS.has(errno) || (typeof sqlState === 'string' && DATA_CLASSES.has(sqlState.slice(0, 2)));
}

const ER_LOCK_WAIT_TIMEOUT = 1205;
export const ER_LOCK_DEADLOCK = 1213;
export const ER_DUP_ENTRY = 1062;
export const ER_NO_SUCH_TABLE = 1146;

export function isLockConflict(error: unknown): boolean {
  const errno = mysqlErrno(error);
  return errno === ER_LOCK_DEADLOCK || errno === ER_LOCK_WAIT_TIMEOUT;
}
