// Chooses the path of the Unix socket and makes its folder safe: the folder belongs to this user alone (0700), the path
// fits into an address, what a dead process left behind is swept away. Touches only that folder.
import { chmodSync, lstatSync, mkdirSync, readdirSync, statSync, unlinkSync } from 'node:fs';
import { createConnection } from 'node:net';
import path from 'node:path';

/** `sun_path` holds 108 bytes on Linux, 104 on macOS, and Node cuts silently: a longer path "listens" on no such file. */
const SOCKET_PATH_BYTES_MAX = 100;
const DEFAULT_FOLDER = path.join('.stampede', 'run');
const FOLDER_MODE = 0o700;
const OTHERS = 0o077;
/** A living agent accepts at once, also while its program's main loop is blocked. */
const PROBE_TIMEOUT_MS = 500;

export interface SocketChoice {
  /** From the program's own code: taken as it is. */
  readonly path: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly pid: number;
  readonly cwd: string;
}

/** The variable that names the socket, and the one by which a child knows that the name is its parent's. */
export const SOCKET_VARIABLE = 'STAMPEDE_DEBUG_SOCKET';
export const OWNER_VARIABLE = 'STAMPEDE_DEBUG_SOCKET_OWNER';

/** The absolute path this process should listen on. Children inherit the variable, so they add `.{pid}` to the name. */
export function chooseSocketPath(choice: SocketChoice): string {
  if (choice.path !== undefined) return path.resolve(choice.cwd, choice.path);
  const configured = choice.env[SOCKET_VARIABLE];
  if (configured === undefined || configured === '') {
    return path.resolve(choice.cwd, DEFAULT_FOLDER, `${choice.pid}.sock`);
  }
  const absolute = path.resolve(choice.cwd, configured);
  const owner = choice.env[OWNER_VARIABLE];
  return owner === undefined || owner === String(choice.pid) ? absolute : withSuffix(absolute, choice.pid);
}

/** `/run/app.sock` → `/run/app.4711.sock`. */
export function withSuffix(socketPath: string, pid: number): string {
  const { dir, name, ext } = path.parse(socketPath);
  return path.join(dir, `${name}.${pid}${ext}`);
}

/**
 * Makes the folder with mode 0700, or checks the one that is there.
 * @throws Error in plain words when the path is too long or the folder is open to others.
 */
export function prepareFolder(socketPath: string): void {
  const bytes = Buffer.byteLength(socketPath);
  if (bytes > SOCKET_PATH_BYTES_MAX) {
    throw new Error(
      `${socketPath} has ${bytes} bytes, a socket's path at most ${SOCKET_PATH_BYTES_MAX}: set ${SOCKET_VARIABLE} to a shorter one`,
    );
  }
  const folder = path.dirname(socketPath);
  mkdirSync(folder, { recursive: true, mode: FOLDER_MODE });
  const { uid, mode } = statSync(folder);
  if (process.getuid !== undefined && uid !== process.getuid()) {
    throw new Error(`${folder} belongs to another user: set ${SOCKET_VARIABLE} to a path in a folder of your own`);
  }
  if ((mode & OTHERS) === 0) return;
  // Our own default folder may be corrected. Anything else may be shared on purpose (/tmp): refuse instead.
  if (folder.endsWith(path.sep + DEFAULT_FOLDER)) chmodSync(folder, FOLDER_MODE);
  else throw new Error(`${folder} is open to other users: its mode must be 0700`);
}

/** Whether someone answers there. A socket file without a process behind it refuses the connection at once. */
export async function isAlive(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(socketPath);
    const settle = (alive: boolean): void => {
      socket.destroy();
      resolve(alive);
    };
    socket.setTimeout(PROBE_TIMEOUT_MS, () => settle(true));
    socket.once('connect', () => settle(true));
    socket.once('error', (error: NodeJS.ErrnoException) =>
      settle(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'),
    );
  });
}

/** Removes the sockets that killed processes left in `folder`. Asks each one, because a pid says nothing across containers. */
export async function sweepDeadSockets(folder: string): Promise<void> {
  const names = readdirSync(folder).filter((name) => /^\d+\.sock$/.test(name));
  for (const name of names) {
    const file = path.join(folder, name);
    if (!(await isAlive(file))) removeSocket(file);
  }
}

/** Unlinks a socket file, if it still is the one with `inode`; what is no socket, or gone already, is left alone. */
export function removeSocket(socketPath: string, inode?: number): void {
  try {
    const file = lstatSync(socketPath);
    if (file.isSocket() && (inode === undefined || file.ino === inode)) unlinkSync(socketPath);
  } catch {
    // Gone already: whoever was faster has done what was wanted.
  }
}
