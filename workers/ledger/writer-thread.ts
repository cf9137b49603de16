// A Piscina thread: one MySQL connection of its own, one batch at a time. Opened at the first batch, opened again after
// any error, since a connection that failed once may be in any state.
import { workerData } from 'piscina';
import { startDiagnostics } from '../../diagnostics/start.js';
import type { Connection } from '../../platform/mysql.js';
import { connectMysql } from '../../platform/mysql.js';
import type { OutboxResult, OutboxTask } from './write-outbox.js';
import { writeOutboxBatch } from './write-outbox.js';
import { writeTogether as writeAllTogether } from './write-together.js';
import type { WriteResult, WriteTask } from './write.js';
import { writeBatch } from './write.js';

/** Whoever shares a transaction with a shard that is locked waits, too; what was not written is tried again. */
const LOCK_WAIT_S = 1;

export interface WriterThreadData {
  readonly mysqlUrl: string;
  /** Whether the thread records its async resources for the pages of its process. */
  readonly recorded: boolean;
}

class WriterThread {
  readonly #mysqlUrl: string;
  #connection: Connection | undefined;

  constructor(mysqlUrl: string) {
    this.#mysqlUrl = mysqlUrl;
  }

  async with<T>(write: (connection: Connection) => Promise<T>): Promise<T> {
    if (this.#connection === undefined || this.#connection.destroyed) {
      this.#connection = await connectMysql(this.#mysqlUrl, { lockWaitS: LOCK_WAIT_S });
    }
    try {
      return await write(this.#connection);
    } catch (error) {
      this.#connection.destroy();
      this.#connection = undefined;
      throw error;
    }
  }
}

const { mysqlUrl, recorded } = workerData as WriterThreadData;
if (recorded) startDiagnostics();
const thread = new WriterThread(mysqlUrl);

// The names by which writer-pool.ts asks for them.
export const writeOutbox = (task: OutboxTask): Promise<OutboxResult> =>
  thread.with((connection) => writeOutboxBatch(connection, task));
export const writeTogether = (tasks: readonly OutboxTask[]): Promise<readonly OutboxResult[] | undefined> =>
  thread.with((connection) => writeAllTogether(connection, tasks));
export const write = (task: WriteTask): Promise<WriteResult> =>
  thread.with((connection) => writeBatch(connection, task));
