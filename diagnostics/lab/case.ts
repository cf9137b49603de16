// What a case of the leak lab is: one classic leak as a handler of a small HTTP server, and the same handler mended.
// A line that the detector is to name carries the comment `leaks here`, at its end or in a comment above it.
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo, Server } from 'node:net';

export type Handler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

/** Prepares what the handler needs; it lives as long as its process. */
export type Variant = () => Handler | Promise<Handler>;

export interface LabCase {
  /** What leaks, in a few words. */
  readonly title: string;
  /** Absent in cases that only look like a leak. */
  readonly leaking?: Variant;
  readonly fixed: Variant;
}

/** Aborted when the response is over, sent or not: the one signal that everything done for a request listens to. */
export function signalOf(response: ServerResponse): AbortSignal {
  const over = new AbortController();
  response.once('close', () => over.abort());
  return over.signal;
}

/** Listens on a free loopback port, and gives it. */
export async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}
