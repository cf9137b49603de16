// /debug/heap/snapshot: a `.heapsnapshot` for the memory tools of Chrome. It stops the program for seconds and needs much
// memory, so it is taken only where there is room, one at a time until it is sent, and of one process at a time.
import path from 'node:path';
import { takeHeapSnapshot, usedHeapBytes } from '../agent/heap-snapshot.js';
import type { MainLink } from '../agent/main-link.js';
import { lackOfRoom, readRoom } from '../agent/room.js';
import type { Room } from '../agent/room.js';
import { takeTurn } from '../agent/turn.js';
import { DebugError, formatOf } from './debug-request.js';
import type { Endpoint } from './debug-request.js';

/** 10 s per 100 MB of heap (measured), and some time for the client. */
const EXPECTED_MS = 30_000;
/** What the program may take to leave its work to others. */
const REST_TIMEOUT_MS = 10_000;
const SHORT_OF_MEMORY_RETRY_SECONDS = 60;

export interface Measures {
  /** Bytes of the heap in use. */
  readonly heapBytes: () => Promise<number>;
  /** Memory and disk for a file in a folder. */
  readonly roomIn: (folder: string) => Room;
}

export function heapSnapshotWith({ heapBytes, roomIn }: Measures): Endpoint {
  return async (request, { data, gate, link, snapshots }) => {
    formatOf(request, ['json']);
    const sent = snapshots.enter('a heap snapshot', EXPECTED_MS);
    try {
      const folder = path.dirname(data.socketPath);
      const file = await gate.run('a heap snapshot', EXPECTED_MS, async () => {
        const lack = lackOfRoom(await heapBytes(), roomIn(folder));
        if (lack !== undefined) {
          throw new DebugError(503, 'not_enough_memory', lack, {
            'retry-after': String(SHORT_OF_MEMORY_RETRY_SECONDS),
          });
        }
        return atRest(link, folder, async () => takeHeapSnapshot(folder, request.gone));
      });
      const { size } = await file.stat();
      const body = file.createReadStream({ start: 0 });
      body.once('close', sent);
      const name = `${data.name.replace(/[^\w.-]/g, '_')}-${data.pid}-${new Date().toISOString().replace(/[:.]/g, '-')}`;
      return {
        type: 'application/octet-stream',
        body,
        headers: { 'content-length': size, 'content-disposition': `attachment; filename="${name}.heapsnapshot"` },
      };
    } catch (error) {
      sent();
      throw error;
    }
  };
}

/** A program that does not rest, or is blocked anyway, is taken as it is. The next one's turn comes when this one works again. */
async function atRest<T>(link: MainLink, folder: string, work: () => Promise<T>): Promise<T> {
  const endTurn = await takeTurn(folder, EXPECTED_MS);
  await link.ask('rest', REST_TIMEOUT_MS).catch(() => undefined);
  try {
    return await work();
  } finally {
    link.ask('resume', REST_TIMEOUT_MS).then(endTurn, endTurn);
  }
}

export const heapSnapshot = heapSnapshotWith({ heapBytes: usedHeapBytes, roomIn: readRoom });
