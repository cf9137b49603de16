// What the jobs count: runs by outcome and duration, and what stands in the queue.
import type { Queue } from 'bullmq';
import type { Metrics } from '../../platform/metrics/metrics.js';

/** Seconds. */
const DURATION_BUCKETS = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300];
const STATES = ['waiting', 'active', 'delayed', 'failed'] as const;

export class JobMetrics {
  readonly #metrics: Metrics;
  readonly #runs;
  readonly #duration;

  /** `jobs`: the names of all jobs there are. */
  constructor(metrics: Metrics, jobs: Iterable<string>) {
    this.#metrics = metrics;
    this.#runs = metrics.counter('stampede_jobs_total', 'Runs of jobs by how they ended.', ['name', 'result']);
    this.#duration = metrics.histogram('stampede_job_duration_seconds', 'Runs of jobs.', DURATION_BUCKETS, ['name']);
    for (const name of jobs) for (const result of ['done', 'failed']) this.#runs.inc({ name, result }, 0);
  }

  async run(name: string, work: () => Promise<void>): Promise<void> {
    const startedAt = performance.now();
    let result = 'failed';
    try {
      await work();
      result = 'done';
    } finally {
      this.#runs.inc({ name, result });
      this.#duration.observe({ name }, (performance.now() - startedAt) / 1_000);
    }
  }

  /** All instances on one Redis share a queue, and each reports the same of it. */
  watchQueue(queue: Queue): void {
    const gauge = this.#metrics.gauge('stampede_queue_jobs', 'Jobs by queue and state.', ['queue', 'state'], 'max');
    this.#metrics.collect(`queue ${queue.name}`, [gauge], async () => {
      const counts = await queue.getJobCounts(...STATES);
      for (const state of STATES) gauge.set({ queue: queue.name, state }, counts[state] ?? 0);
    });
  }
}
