// One running service per data folder. The lock is a listening socket in Linux' abstract namespace, named after the
// folder's device and inode: the kernel hands a name out once and takes it back when its process dies, so there is no
// stale lock to judge and no race between two starters. It answers whoever connects with the holder's process id.
// It does not reach across machines or network namespaces: two containers on one volume do not see each other.
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { ConfigurationError } from '../errors.js';
import { makePrivateFolder } from './private-files.js';

/** How long the holder of the lock may take to name itself, for the message only. */
const HOLDER_ANSWER_TIMEOUT_MS = 1_000;

export interface FolderLock {
  release(): Promise<void>;
}

/**
 * Locks `folder` (made if missing) until `release()` or the end of this process.
 * Throws `ConfigurationError`, naming the running process, when it is locked already.
 */
export async function lockFolder(folder: string): Promise<FolderLock> {
  if (process.platform !== 'linux') {
    throw new ConfigurationError(
      `STAMPEDE_DIR (${folder}) can only be locked on Linux; on ${process.platform} use Docker.`,
    );
  }
  await makePrivateFolder(folder);
  const { dev, ino } = await stat(folder, { bigint: true });
  const name = `\0stampede:${dev}:${ino}`;
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.end(String(process.pid));
  });
  server.listen(name);
  try {
    await once(server, 'listening');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')) throw error;
    const holder = await askHolder(name);
    throw new ConfigurationError(
      `STAMPEDE_DIR (${folder}) is in use by ${holder}. Stop it first, or set STAMPEDE_DIR to another folder.`,
    );
  }
  // The lock ends with the process; it is no reason for the process to go on.
  server.unref();
  return { release: () => close(server) };
}

async function askHolder(name: string): Promise<string> {
  let socket: Socket | undefined;
  try {
    socket = connect(name);
    socket.setTimeout(HOLDER_ANSWER_TIMEOUT_MS, () => socket?.destroy());
    const pid = await text(socket);
    return /^\d+$/.test(pid) ? `process ${pid}` : 'another process';
  } catch {
    return 'another process';
  } finally {
    socket?.destroy();
  }
}

async function close(server: Server): Promise<void> {
  if (!server.listening) return;
  server.close();
  await once(server, 'close');
}
