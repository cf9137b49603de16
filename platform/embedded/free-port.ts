// Loopback ports. A port that was free a moment ago may be taken when it is used: callers try again.
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

const LOOPBACK = '127.0.0.1';
// Below the range that kernels take the local ends of outgoing connections from (Linux: 32,768 to 60,999). A port of that
// range, which listening on 0 would give, may be taken by any connection that is made before it is used.
const PORT_MIN = 11_000;
const PORT_MAX = 32_000;
const ATTEMPTS_MAX = 50;

/** A TCP port of 127.0.0.1 that nobody uses right now. */
export async function findFreePort(): Promise<number> {
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
    const port = randomInt(PORT_MIN, PORT_MAX);
    if (!(await isPortTaken(port))) return port;
  }
  throw new Error(`no free port between ${PORT_MIN} and ${PORT_MAX} in ${ATTEMPTS_MAX} attempts`);
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
