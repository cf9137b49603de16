// Scheduled and retried work, run by BullMQ in the ledger process: one queue, one worker, and the table of jobs that they
// know. The claim path does not come through here.
//
// Everything that BullMQ knows is in Redis, and Redis forgets: it is restarted empty, fails over, is flushed. So a watch looks
// at every schedule again and again: one that is gone is made again, one whose time has long passed is made anew, and a
// worker that has ended is started. A connection that does not answer the watch is left for a new one.
import { Queue, Worker } from 'bullmq';
import type { Log } from '../../platform/log.js';
import type { Metrics } from '../../platform/metrics/metrics.js';
import type { Redis } from '../../platform/redis.js';
import { connectRedis } from '../../platform/redis.js';
import { JobMetrics } from './job-metrics.js';

/** The prefix in braces: all keys of the queue in one slot of a Redis Cluster. */
export const JOB_QUEUE = { name: 'jobs', prefix: '{stampede}' } as const;
/** Finished jobs are of no use; failed ones are kept to be looked at. */
const FAILED_KEPT_MAX = 1_000;
/** Redis answers a blocking read after 5 s at the latest (BullMQ's drainDelay); closing waits for what runs. */
const CLOSE_LIMIT_MS = 10_000;
/** Runs at the same time, so that a long one does not keep the others waiting. */
const CONCURRENCY = 8;
/** Jobs without a priority go first: a backlog of requested ones does not keep the schedules waiting. */
const AFTER_SCHEDULED = 1;
const WATCH_INTERVAL_MS = 2_000;
/** A connection on which the watch hears nothing for this long is dead, whatever TCP says. */
const WATCH_LIMIT_MS = 10_000;
/** A schedule that is this late has lost its next run: even a busy queue is not that far behind. */
const OVERDUE_MS = 60_000;

export interface ScheduledJob {
  readonly name: string;
  readonly everyMs: number;
  /** Must be safe to repeat: a worker that dies in the middle is followed by another run. */
  readonly run: () => Promise<void>;
}

/** A job that somebody asks for (`add`), with something to work on. */
export interface RequestedJob {
  readonly name: string;
  /** Attempts, the first included; the delay after the first, doubled after each further one. */
  readonly attempts: number;
  readonly backoffMs: number;
  /** Must be safe to repeat. Rejects to be tried again. */
  readonly run: (data: unknown) => Promise<void>;
}

export type Job = ScheduledJob | RequestedJob;

export interface JobsOptions {
  readonly redisUrl: string;
  readonly jobs: readonly Job[];
  readonly log: Log;
  readonly metrics: Metrics;
  readonly overdueMs?: number;
  /** False: nothing is run now. A scheduled job is left out this time, one that was asked for is tried again later. */
  readonly mayRun?: () => boolean;
}

export class Jobs {
  readonly #options: JobsOptions;
  readonly #jobs: ReadonlyMap<string, Job>;
  readonly #metrics: JobMetrics;
  readonly #redis: Redis;
  readonly #queue: Queue;
  readonly #worker: Worker;
  #timer: NodeJS.Timeout | undefined;
  #watching: Promise<void> | undefined;
  #stopped = false;

  /** Connects; nothing runs before `start`. */
  constructor(options: JobsOptions) {
    const { redisUrl, jobs, log, metrics } = options;
    this.#options = options;
    this.#jobs = new Map(jobs.map((job) => [job.name, job]));
    this.#metrics = new JobMetrics(metrics, this.#jobs.keys());
    this.#redis = connectRedis(redisUrl, { kind: 'jobs' }, log);
    const connection = { connection: this.#redis, prefix: JOB_QUEUE.prefix };
    this.#queue = new Queue(JOB_QUEUE.name, connection);
    this.#metrics.watchQueue(this.#queue);
    this.#worker = new Worker(JOB_QUEUE.name, (job) => this.#run(job.name, job.data), {
      ...connection,
      autorun: false,
      concurrency: CONCURRENCY,
    });
    const onTrouble = (error: Error): void => log.debug({ err: error }, 'jobs: connection trouble');
    this.#queue.on('error', onTrouble);
    this.#worker.on('error', onTrouble);
    this.#worker.on('failed', (job, error) => log.warn({ err: error, job: job?.name }, 'job failed'));
  }

  start(): void {
    if (this.#stopped) return;
    this.#watch();
    this.#redis.on('ready', this.#watch);
    this.#timer = setInterval(this.#watch, WATCH_INTERVAL_MS);
  }

  /**
   * Has a job done, now or as soon as its predecessors are. The same id again, while that job is known, changes nothing. Waits
   * for a Redis that is away.
   */
  async add(name: string, id: string, data: unknown): Promise<void> {
    const job = this.#jobs.get(name);
    if (job === undefined || !('attempts' in job)) throw new Error(`no requested job is named ${name}`);
    const { attempts, backoffMs } = job;
    const backoff = { type: 'exponential', delay: backoffMs };
    await this.#queue.add(name, data, { ...KEPT, jobId: id, attempts, backoff, priority: AFTER_SCHEDULED });
  }

  /** Resolves when the jobs that run now have ended, or after the limit. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    this.#redis.off('ready', this.#watch);
    const timer = setTimeout(() => this.#redis.disconnect(), CLOSE_LIMIT_MS);
    try {
      await this.#watching;
      await this.#worker.close();
      await this.#queue.close();
    } finally {
      clearTimeout(timer);
      this.#redis.disconnect();
    }
  }

  /** One look at a time. */
  readonly #watch = (): void => {
    const { log } = this.#options;
    this.#watching ??= this.#look()
      .catch((error: unknown) => log.warn({ err: error }, 'jobs not scheduled, trying again'))
      .finally(() => {
        this.#watching = undefined;
      });
  };

  async #look(): Promise<void> {
    const { log, overdueMs = OVERDUE_MS } = this.#options;
    if (this.#redis.status !== 'ready' || this.#stopped) return;
    if (!this.#worker.isRunning()) {
      this.#worker.run().catch((error: unknown) => log.error({ err: error }, 'job worker ended, starting it again'));
    }
    const silent = setTimeout(() => {
      log.warn('Redis does not answer the jobs, leaving the connection for a new one');
      this.#redis.disconnect(true);
    }, WATCH_LIMIT_MS);
    try {
      const schedules = new Map((await this.#queue.getJobSchedulers()).map(({ key, next }) => [key, next]));
      for (const job of this.#jobs.values()) {
        if (!('everyMs' in job)) continue;
        const next = schedules.get(job.name);
        const late = next !== undefined && next < Date.now() - overdueMs;
        if (next !== undefined && !late) continue;
        if (late) {
          log.warn({ job: job.name, next: new Date(next) }, 'a schedule has lost its next run, making it anew');
          await this.#queue.removeJobScheduler(job.name);
        }
        await this.#queue.upsertJobScheduler(job.name, { every: job.everyMs }, { name: job.name, opts: KEPT });
      }
    } finally {
      clearTimeout(silent);
    }
  }

  async #run(name: string, data: unknown): Promise<void> {
    const job = this.#jobs.get(name);
    if (job === undefined) throw new Error(`no job is named ${name}`);
    if (this.#options.mayRun?.() === false) {
      if ('everyMs' in job) return;
      throw new Error(`${name} may not run now`);
    }
    await this.#metrics.run(name, () => job.run(data));
  }
}

const KEPT = { removeOnComplete: true, removeOnFail: FAILED_KEPT_MAX };
