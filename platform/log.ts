// Structured logs: one JSON line per lifecycle event (pino), pretty on a terminal. Never a line per claim at the
// default level, never a secret, a token or a URL with a password.
import pino from 'pino';
import type { DestinationStream, Logger } from 'pino';
import pretty from 'pino-pretty';

export type Log = Logger;

/**
 * The log of one process; `name` is its name in the cluster (`primary`, `http-1`, `ledger-1`, …). JSON lines on stdout,
 * readable ones where that is a terminal, or JSON lines to `destination`.
 */
export function createLog(name: string, level: string, destination?: DestinationStream): Log {
  const options = {
    level,
    base: { name, pid: process.pid },
    serializers: { err: errorForLog },
  };
  if (destination !== undefined) return pino(options, destination);
  if (!process.stdout.isTTY) return pino(options);
  return pino(options, pretty({ singleLine: true, ignore: 'pid,hostname', translateTime: 'HH:MM:ss.l', sync: true }));
}

/**
 * What a log may say of an error. Drivers hang the whole statement (mysql2: `sql`) or all arguments (ioredis: `command`) on
 * theirs: a failed batch would write thousands of user ids into one line.
 */
function errorForLog(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { name, message, stack, cause } = error;
  const code: unknown = 'code' in error ? error.code : undefined;
  return { type: name, message, code, stack, ...(cause !== undefined && { cause: errorForLog(cause) }) };
}

/** A URL without its user and password, fit for logs and for the screen. */
export function withoutCredentials(url: string): string {
  const parsed = new URL(url);
  parsed.username = '';
  parsed.password = '';
  return parsed.href;
}
