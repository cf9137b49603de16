// Loopback ports. A port that was free a moment ago may be taken when it is used: callers try again.
import { once } from 'node:events';
import { createServer } from 'node:net';

const LOOPBACK = '127.0.0.1';

/** A TCP port of 127.0.0.1 that nobody uses right now, chosen by the kernel. */
export async function findFreePort(): Promise<number> {
  const server = createServer().listen({ host: LOOPBACK, port: 0 });
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('a TCP server without a port');
  return address.port;
}

/** Whether somebody else listens on this port of 127.0.0.1. */
export async function isPortTaken(port: number): Promise<boolean> {
  const server = createServer().listen({ host: LOOPBACK, port });
  try {
    await once(server, 'listening');
  } catch {
    return true;
  }
  server.close();
  await once(server, 'close');
  return false;
}
