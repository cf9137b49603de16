// Structured logs: one JSON line per lifecycle event (pino), pretty on a terminal. Never a line per claim at the
// default level, never a secret, a token or a URL with a password.
import pino from 'pino';
import type { Logger } from 'pino';
import pretty from 'pino-pretty';

export type Log = Logger;

/** The log of one process; `name` is its name in the cluster (`primary`, `http-1`, `ledger-1`, …). */
export function createLog(name: string, level: string): Log {
  const options = {
    level,
    base: { name, pid: process.pid },
    redact: ['req.headers.authorization', 'req.headers["x-gateway-token"]'],
  };
  if (!process.stdout.isTTY) return pino(options);
  return pino(options, pretty({ ignore: 'pid,hostname', translateTime: 'HH:MM:ss.l', sync: true }));
}

/** A URL without its user and password, fit for logs and for the screen. */
export function withoutCredentials(url: string): string {
  const parsed = new URL(url);
  parsed.username = '';
  parsed.password = '';
  return parsed.href;
}
