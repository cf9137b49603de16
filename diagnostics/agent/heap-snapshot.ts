// Takes a heap snapshot of the main thread into a file without a name: 0600, unlinked as soon as it is open, so it goes
// with its last reader, whatever happens to client, thread or process. Taking it stops the program; reading it does not.
import { writeSync } from 'node:fs';
import { open, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { inTime, withMainThread } from './inspector-session.js';
import { STANDSTILL_MS_MAX } from './messages.js';

const FILE_MODE = 0o600;

/** Bytes of the main thread's heap in use; known also while its loop is blocked. */
export async function usedHeapBytes(): Promise<number> {
  return withMainThread(async (session) => {
    // Experimental in the protocol, so the types do not know what it answers.
    const usage: Promise<unknown> = session.post('Runtime.getHeapUsage');
    const { usedSize } = (await inTime('Runtime.getHeapUsage', usage)) as { usedSize: number };
    return usedSize;
  });
}

/**
 * V8 cannot be stopped once it has begun, so this takes its time also when the client has gone; what it then sends is
 * dropped, and the file with it.
 * @throws Error when the disk does not take it, or the client has gone.
 */
export async function takeHeapSnapshot(folder: string, gone: AbortSignal): Promise<FileHandle> {
  const name = path.join(folder, `${process.pid}-${Date.now()}.heapsnapshot`);
  const file = await open(name, 'wx+', FILE_MODE);
  await unlink(name);
  try {
    await withMainThread(async (session) => {
      let failure: unknown;
      session.on('HeapProfiler.addHeapSnapshotChunk', ({ params }) => {
        if (failure !== undefined || gone.aborted) return;
        try {
          // At once: V8 sends faster than a stream's queue would empty, and the queue would be memory.
          writeSync(file.fd, params.chunk);
        } catch (error) {
          failure = error;
        }
      });
      const taken = session.post('HeapProfiler.takeHeapSnapshot', { reportProgress: false });
      await inTime('HeapProfiler.takeHeapSnapshot', taken, STANDSTILL_MS_MAX);
      if (failure instanceof Error) throw failure;
      gone.throwIfAborted();
    });
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}
