// Tells a database that is away, or will not write now, from a mistake in our own code. Knows the drivers' errors by their
// looks and nothing of what was asked.
import { mysqlErrno } from './mysql.js';

// MySQL's own numbers: too many connections, shutdown in progress, read-only (option and transaction), lock wait, deadlock,
// killed connection, killed or timed-out statement.
const MYSQL_REFUSALS = new Set([1040, 1053, 1290, 1792, 1836, 1205, 1213, 1317, 1927, 1969, 3024]);
const REDIS_REFUSAL =
  /^(LOADING|READONLY|OOM|MISCONF|MASTERDOWN|BUSY|NOREPLICAS|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|UNBLOCKED)/;
const REDIS_CONNECTION =
  /^(Stream isn't writeable|Redis command was not sent|Connection is closed|Command timed out|Reached the max retries|Command aborted)/;

/** True for errors of a connection, and for answers with which a server refuses everybody for a while. */
export function isDatabaseFailure(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const errno = mysqlErrno(error);
  if (errno !== undefined) return MYSQL_REFUSALS.has(errno);
  if (REDIS_REFUSAL.test(error.message) || REDIS_CONNECTION.test(error.message)) return true;
  // mysql2 and Node give every error of a connection a code, e.g. PROTOCOL_CONNECTION_LOST or ECONNREFUSED.
  return 'code' in error && typeof error.code === 'string' && /^(PROTOCOL_|E[A-Z]+$)/.test(error.code);
}
