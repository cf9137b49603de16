// Watches sockets, client requests, child processes and worker threads by the diagnostics channels that Node publishes
// on their creation. Writes into the site table only; subscribes to nothing but those channels.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Sampler } from './sampler.js';
import type { Details, SiteTable } from './site-table.js';
import { Entry } from './site-table.js';
import { captureStack } from './stack.js';

interface Channel {
  readonly name: string;
  /** The property of the message that holds the object. */
  readonly property: string;
  readonly kind: 'handle' | 'request';
  readonly type: string;
  /** False where no code of the user's is on the stack. */
  readonly withStack: boolean;
  readonly isLive: (target: object) => boolean;
  readonly detailsOf: (target: object) => Details;
}

interface Destroyable {
  readonly destroyed?: boolean;
}
const isOpen = (target: object): boolean => (target as Destroyable).destroyed !== true;
const NO_DETAILS: Details = {};
const noDetails = (): Details => NO_DETAILS;

const CHANNELS: readonly Channel[] = [
  {
    name: 'net.client.socket',
    property: 'socket',
    kind: 'handle',
    type: 'Socket',
    withStack: true,
    isLive: isOpen,
    detailsOf: noDetails,
  },
  {
    name: 'net.server.socket',
    property: 'socket',
    kind: 'handle',
    type: 'accepted Socket',
    withStack: false,
    isLive: isOpen,
    detailsOf: (target) => {
      const { localPort } = target as { readonly localPort?: number };
      return localPort === undefined ? NO_DETAILS : { localPort, site: `port ${localPort}` };
    },
  },
  {
    name: 'http.client.request.start',
    property: 'request',
    kind: 'request',
    type: 'ClientRequest',
    withStack: true,
    isLive: isOpen,
    detailsOf: noDetails,
  },
  {
    name: 'child_process',
    property: 'process',
    kind: 'handle',
    type: 'ChildProcess',
    withStack: true,
    isLive: (target) => {
      const child = target as { readonly exitCode: number | null; readonly signalCode: string | null };
      return child.exitCode === null && child.signalCode === null;
    },
    detailsOf: noDetails,
  },
  {
    name: 'worker_threads',
    property: 'worker',
    kind: 'handle',
    type: 'Worker',
    withStack: true,
    // Node gives a thread that has ended the id -1.
    isLive: (target) => (target as { readonly threadId: number }).threadId !== -1,
    detailsOf: noDetails,
  },
];

export interface HandleWatchOptions {
  readonly table: SiteTable;
  readonly sampler: Sampler;
}

/** Gives back what undoes it. */
export function watchHandles({ table, sampler }: HandleWatchOptions): () => void {
  const undo = CHANNELS.map(({ name, property, kind, type, withStack, isLive, detailsOf }) => {
    const onCreated = (message: unknown): void => {
      const target = (message as Record<string, unknown>)[property];
      if (typeof target !== 'object' || target === null) return;
      const weight = sampler.take();
      if (weight === 0) return;
      const stack = withStack ? captureStack() : undefined;
      table.add(new Entry({ kind, type, details: detailsOf(target), weight, stack, target, isLive }));
    };
    subscribe(name, onCreated);
    return () => unsubscribe(name, onCreated);
  });
  return () => {
    for (const restore of undo) restore();
  };
}
