// Inspector sessions, one per capture: from the diagnostics thread to the main thread, and of a worker thread with itself. None stands longer than its
// capture: while one does, V8 keeps the arguments of the last 1,000 console messages alive and `console.log` costs twice
// its price (measured on Node 20), which is no way to look for leaks.
import { Session } from 'node:inspector/promises';

/** The main thread handles inspector messages also in the middle of a loop; only native code keeps it from it. */
export const COMMAND_TIMEOUT_MS = 2_000;

/** The main thread is inside native code (a synchronous system call, a long regular expression, …) and takes no command. */
export class MainThreadInNativeCode extends Error {
  override readonly name = 'MainThreadInNativeCode';

  constructor(command: string) {
    super(
      `the main thread did not take ${command} within ${COMMAND_TIMEOUT_MS} ms: it is in native code, not in JavaScript`,
    );
  }
}

/** Opens a session, closes it whatever happens: closing also ends a pause, a profile and a sampling of the session. */
export async function withMainThread<T>(use: (session: Session) => Promise<T>): Promise<T> {
  return withSession((session) => session.connectToMainThread(), use);
}

/** The same with the thread that calls it, which answers between two turns of its loop. */
export async function withOwnThread<T>(use: (session: Session) => Promise<T>): Promise<T> {
  return withSession((session) => session.connect(), use);
}

async function withSession<T>(connect: (session: Session) => void, use: (session: Session) => Promise<T>): Promise<T> {
  const session = new Session();
  connect(session);
  try {
    return await use(session);
  } finally {
    session.disconnect();
  }
}

/** @throws MainThreadInNativeCode when the reply takes longer than `timeoutMs`. */
export async function inTime<T>(command: string, reply: Promise<T>, timeoutMs = COMMAND_TIMEOUT_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new MainThreadInNativeCode(command)), timeoutMs);
  });
  // The session is closed after a late reply, which rejects it: nobody listens any more.
  reply.catch(() => undefined);
  try {
    return await Promise.race([reply, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Settles after `ms`, or at once when the client has gone. */
export async function elapse(ms: number, gone: AbortSignal): Promise<void> {
  if (gone.aborted) return;
  await new Promise<void>((resolve) => {
    const settle = (): void => {
      clearTimeout(timer);
      gone.removeEventListener('abort', settle);
      resolve();
    };
    const timer = setTimeout(settle, ms);
    gone.addEventListener('abort', settle);
  });
}
