// The Piscina pool of writer threads. The ledger gives it batches and never waits for more than one per shard.
import type { EventLoopUtilization } from 'node:perf_hooks';
import type { Worker } from 'node:worker_threads';
import { Piscina } from 'piscina';
import { packagePath } from '../../platform/package-root.js';
import { GroupCommit } from './group-commit.js';
import type { OutboxResult, OutboxTask } from './write-outbox.js';
import type { WriteResult, WriteTask } from './write.js';
import type { WriterThreadData } from './writer-thread.js';

/** Writes one batch of the outbox; rejects with whatever MySQL or the connection said. */
export type WriteOutbox = (task: OutboxTask) => Promise<OutboxResult>;

/** The same for claims, returns and changes that a rebuild has chosen. */
export type WriteEntries = (task: WriteTask) => Promise<WriteResult>;

export type WrittenBatch = Extract<WriteResult, { status: 'written' }>;

export class WriterPool {
  readonly #pool: Piscina;
  readonly #groups: GroupCommit;
  /** As of the last `load()`. */
  readonly #seen = new WeakMap<Worker, EventLoopUtilization>();

  /** `queueMax`: one batch per shard is the most that the ledger ever gives. `rowsAwaited`: see group-commit.ts. */
  constructor(options: WriterThreadData & { threads: number; queueMax: number; rowsAwaited: boolean }) {
    const { mysqlUrl, recorded, rowsAwaited } = options;
    const workerData: WriterThreadData = { mysqlUrl, recorded };
    this.#pool = new Piscina({
      filename: packagePath('dist', 'workers', 'ledger', 'writer-thread.js'),
      minThreads: options.threads,
      maxThreads: options.threads,
      maxQueue: options.queueMax,
      // A thread that sleeps on Atomics between tasks cannot keep its socket alive.
      atomics: 'disabled',
      workerData,
    });
    this.#groups = new GroupCommit(
      {
        together: (tasks) => this.#pool.run(tasks, { name: 'writeTogether' }),
        alone: (task) => this.#pool.run(task, { name: 'writeOutbox' }),
      },
      { groupsMax: options.threads, rowsAwaited },
    );
  }

  readonly writeOutbox: WriteOutbox = (task) => this.#groups.write(task);

  readonly write: WriteEntries = (task) => this.#pool.run(task, { name: 'write' });

  /** Batches that wait for company or for a thread, and how busy each thread was since the last call. */
  load(): { waiting: number; utilizations: number[] } {
    const utilizations = this.#pool.threads.map((thread) => {
      const now = thread.performance.eventLoopUtilization();
      const { utilization } = thread.performance.eventLoopUtilization(now, this.#seen.get(thread));
      this.#seen.set(thread, now);
      // Below 0 while the thread's loop has not begun to turn.
      return Math.max(0, utilization);
    });
    return { waiting: this.#pool.queueSize + this.#groups.waiting, utilizations };
  }

  /** Ends the threads. Batches must be settled by now: a task that is aborted takes its thread down in mid-write. */
  async stop(): Promise<void> {
    await this.#pool.destroy();
  }
}
