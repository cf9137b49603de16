// Watches servers (net, http, tls; on a port or a socket) by the diagnostics channels that Node publishes when one is told to
// listen: the line that opened it, until it is closed. Writes into the site table only.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Server } from 'node:net';
import type { Sampler } from './sampler.js';
import type { SiteTable } from './site-table.js';
import { Entry } from './site-table.js';
import { captureStack } from './stack.js';

const CHANNEL = 'tracing:net.server.listen';

export interface ServerWatchOptions {
  readonly table: SiteTable;
  readonly sampler: Sampler;
}

/** Gives back what undoes it. */
export function watchServers({ table, sampler }: ServerWatchOptions): () => void {
  /** It listens, did so, or could not: until then one that does not listen is about to (its name is looked up, a primary is asked). */
  const settled = new WeakSet<Server>();
  const isLive = (server: object): boolean => (server as Server).listening || !settled.has(server as Server);
  const onListen = (message: unknown): void => {
    const weight = sampler.take();
    if (weight === 0) return;
    const made = { kind: 'handle', type: 'Server', details: {}, weight, stack: captureStack() } as const;
    table.add(new Entry({ ...made, target: serverOf(message), isLive }));
  };
  const onSettled = (message: unknown): void => {
    settled.add(serverOf(message));
  };
  const subscriptions = [
    [`${CHANNEL}:asyncStart`, onListen],
    [`${CHANNEL}:asyncEnd`, onSettled],
    [`${CHANNEL}:error`, onSettled],
  ] as const;
  for (const [name, listener] of subscriptions) subscribe(name, listener);
  return () => {
    for (const [name, listener] of subscriptions) unsubscribe(name, listener);
  };
}

function serverOf(message: unknown): Server {
  return (message as { readonly server: Server }).server;
}
