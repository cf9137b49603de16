// Opening the port of an HTTP server and letting go of it without failing one request. Works the same alone and in a
// worker of `node:cluster`. Knows nothing of routes.
import { Server as NetServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Server } from 'node:http';
import { ConfigurationError, messageOf } from '../../platform/errors.js';
import type { ApiInstance, ApiServer } from './api-server.js';

/** Connections still idle this long before the deadline are closed, though a request may be on its way. */
const CLOSE_IDLE_BEFORE_DEADLINE_MS = 1_500;
/** What is still open this long before the deadline is cut off, so that the rest of the drain has time. */
const DESTROY_BEFORE_DEADLINE_MS = 500;

/**
 * Connections that the kernel keeps while every worker is busy. At Node's 511 the others of a stampede wait a second for
 * their next SYN. Linux caps it at net.core.somaxconn, 4,096 by default.
 */
const BACKLOG = 4_096;

/**
 * How long a port that is taken is tried again: after a primary was killed, its workers let go of it within milliseconds of
 * noticing, and the service manager may be as fast. Who still holds it then is another program.
 */
const IN_USE_PATIENCE_MS = 3_000;
const IN_USE_RETRY_MS = 100;

/** The variables that an error of listening names. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
  readonly hostVariable: string;
  readonly portVariable: string;
}

// Errors of listening that no restart cures, and the variable to look at.
const HOPELESS: Readonly<Record<string, (address: ListenAddress) => string>> = {
  EADDRINUSE: ({ host, port, portVariable }) => `${portVariable}: another program listens on ${host}:${port}.`,
  EACCES: ({ port, portVariable }) => `${portVariable}: this user may not listen on port ${port}.`,
  EADDRNOTAVAIL: ({ host, hostVariable }) => `${hostVariable}: this machine has no address ${host}.`,
  ENOTFOUND: ({ host, hostVariable }) => `${hostVariable}: the name ${host} is not known.`,
};

/** Resolves when connections are accepted. Rejects with `ConfigurationError` when no restart could help. */
export async function listen(app: ApiInstance, address: ListenAddress): Promise<void> {
  await app.ready();
  // Not app.listen(): for `localhost` it opens second servers that a drain would not see.
  const patientUntil = performance.now() + IN_USE_PATIENCE_MS;
  for (;;) {
    try {
      await open(app.server, address);
      return;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? '';
      if (code === 'EADDRINUSE' && performance.now() < patientUntil) {
        await delay(IN_USE_RETRY_MS);
        continue;
      }
      const explain = HOPELESS[code];
      if (explain === undefined) throw error;
      throw new ConfigurationError(explain(address), { cause: messageOf(error) });
    }
  }
}

function open(server: Server, { host, port }: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    const onListening = (): void => {
      server.off('error', onError);
      resolve();
    };
    const before = new Set(server.listeners('listening'));
    const onError = (error: Error): void => {
      // Ours, and the one that node:cluster leaves at every attempt.
      for (const listener of server.listeners('listening'))
        if (!before.has(listener)) server.off('listening', listener as () => void);
      reject(error);
    };
    server.once('error', onError).once('listening', onListening);
    server.listen({ host, port, backlog: BACKLOG });
  });
}

/**
 * Stops accepting, answers everything that still arrives, and resolves when the last connection is gone, shortly before
 * `deadline` (epoch ms) at the latest.
 *
 * `http.Server.close()` would destroy idle keep-alive connections at once, under the hands of clients that are just
 * sending. Here they end by the keep-alive time-out that they were told, or with their next answer.
 */
export async function drain(api: ApiServer, deadline: number): Promise<void> {
  const { server } = api.app;
  api.beginDrain();
  const stopped = new AbortController();
  const untilDeadline = cutOffAtDeadline(server, deadline, stopped.signal);
  await new Promise<void>((resolve) => {
    // Only net's part of close(); its callback comes with the last connection's end, or with an error if never opened.
    NetServer.prototype.close.call(server, () => {
      resolve();
    });
  });
  stopped.abort();
  await untilDeadline;
  await api.app.close();
}

/**
 * Stops accepting and waits until the open connections have ended, at most `limitMs`: a process that is about to stand still
 * for seconds holds up nobody but who stays. Resolves with what makes it accept again.
 */
export async function rest(api: ApiServer, address: ListenAddress, limitMs: number): Promise<() => Promise<void>> {
  const { server } = api.app;
  api.beginDrain();
  const ended = new Promise<void>((resolve) => {
    NetServer.prototype.close.call(server, () => {
      resolve();
    });
  });
  const waited = new AbortController();
  await Promise.race([ended, delay(limitMs, undefined, { signal: waited.signal }).catch(() => undefined)]);
  waited.abort();
  return async () => {
    api.endDrain();
    await listen(api.app, address);
  };
}

async function cutOffAtDeadline(server: Server, deadline: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(Math.max(0, deadline - CLOSE_IDLE_BEFORE_DEADLINE_MS - Date.now()), undefined, { signal });
    server.closeIdleConnections();
    await delay(Math.max(0, deadline - DESTROY_BEFORE_DEADLINE_MS - Date.now()), undefined, { signal });
    server.closeAllConnections();
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
