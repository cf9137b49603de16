// What stops a program or makes it many times slower: one at a time among all processes whose agents share a folder, because
// workers that leave their work to each other must not all leave it. The turn is a listening socket in Linux' abstract
// namespace, named after the folder: the kernel hands a name out once and takes it back when its process dies. Elsewhere
// there are no such names, and every process has its own turn.
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { createServer } from 'node:net';
import { Busy } from './heavy-gate.js';

/**
 * Gives the function that ends the turn. `folder`: of the sockets; it must exist.
 * @throws Busy while another process has the turn; `expectedMs` tells when to come again.
 */
export async function takeTurn(folder: string, expectedMs: number): Promise<() => void> {
  if (process.platform !== 'linux') return () => undefined;
  const { dev, ino } = statSync(folder, { bigint: true });
  const server = createServer((socket) => socket.destroy());
  server.listen(`\0stampede.diagnostics:${dev}:${ino}`);
  try {
    await once(server, 'listening');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')) throw error;
    throw new Busy('a heap snapshot or trace of a process beside this one', Math.ceil(expectedMs / 1_000));
  }
  // It ends with the process, and is no reason for it to go on.
  server.unref();
  return () => {
    server.close();
  };
}
