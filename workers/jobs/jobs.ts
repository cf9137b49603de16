// Scheduled and retried work, run by BullMQ in the ledger process: one queue, one worker, and the table of jobs that they
// know. The claim path does not come through here.
import { Queue, Worker } from 'bullmq';
import type { Log } from '../../platform/log.js';
import type { Metrics } from '../../platform/metrics/metrics.js';
import type { Redis } from '../../platform/redis.js';
import { connectRedis } from '../../platform/redis.js';
import { JobMetrics } from './job-metrics.js';

const QUEUE = 'jobs';
/** In braces: all keys of the queue in one slot of a Redis Cluster. */
const PREFIX = '{stampede}';
/** Finished jobs are of no use; failed ones are kept to be looked at. */
const FAILED_KEPT_MAX = 1_000;
/** Redis answers a blocking read after 5 s at the latest (BullMQ's drainDelay); closing waits for what runs. */
const CLOSE_LIMIT_MS = 10_000;

export interface Job {
  readonly name: string;
  readonly everyMs: number;
  /** Must be safe to repeat: a worker that dies in the middle is followed by another run. */
  readonly run: () => Promise<void>;
}

export class Jobs {
  readonly #jobs: ReadonlyMap<string, Job>;
  readonly #log: Log;
  readonly #metrics: JobMetrics;
  readonly #redis: Redis;
  readonly #queue: Queue;
  readonly #worker: Worker;

  /** Connects; nothing runs before `start`. */
  constructor(redisUrl: string, jobs: readonly Job[], log: Log, metrics: Metrics) {
    this.#jobs = new Map(jobs.map((job) => [job.name, job]));
    this.#log = log;
    this.#metrics = new JobMetrics(metrics, this.#jobs.keys());
    this.#redis = connectRedis(redisUrl, { kind: 'jobs' }, log);
    const options = { connection: this.#redis, prefix: PREFIX };
    this.#queue = new Queue(QUEUE, options);
    this.#metrics.watchQueue(this.#queue);
    this.#worker = new Worker(QUEUE, (job) => this.#run(job.name), { ...options, autorun: false });
    const onTrouble = (error: Error): void => log.debug({ err: error }, 'jobs: connection trouble');
    this.#queue.on('error', onTrouble);
    this.#worker.on('error', onTrouble);
    this.#worker.on('failed', (job, error) => log.warn({ err: error, job: job?.name }, 'job failed'));
  }

  start(): void {
    this.#schedule();
    // A Redis that lost its data lost the schedules, too.
    this.#redis.on('ready', this.#schedule);
    this.#worker.run().catch((error: unknown) => this.#log.error({ err: error }, 'jobs stopped'));
  }

  /** Resolves when the job that runs now has ended, or after the limit. */
  async stop(): Promise<void> {
    this.#redis.off('ready', this.#schedule);
    const timer = setTimeout(() => this.#redis.disconnect(), CLOSE_LIMIT_MS);
    try {
      await this.#worker.close();
      await this.#queue.close();
    } finally {
      clearTimeout(timer);
      this.#redis.disconnect();
    }
  }

  readonly #schedule = (): void => {
    const scheduled = [...this.#jobs.values()].map((job) =>
      this.#queue.upsertJobScheduler(
        job.name,
        { every: job.everyMs },
        { name: job.name, opts: { removeOnComplete: true, removeOnFail: FAILED_KEPT_MAX } },
      ),
    );
    Promise.all(scheduled).catch((error: unknown) => this.#log.warn({ err: error }, 'jobs not scheduled'));
  };

  async #run(name: string): Promise<void> {
    const job = this.#jobs.get(name);
    if (job === undefined) throw new Error(`no job is named ${name}`);
    await this.#metrics.run(name, job.run);
  }
}
