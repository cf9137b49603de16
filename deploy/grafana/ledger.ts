// The dashboard of the ledger: the way of claims to MySQL, shards, invariants and jobs.
import type { Dashboard } from './dashboard.js';

const OF = 'instance=~"$instance"';
const rate = (series: string): string => `rate(${series}[$__rate_interval])`;
const quantile = (q: number, histogram: string): string =>
  `histogram_quantile(${q}, sum by (le) (${rate(`${histogram}_bucket{${OF}}`)}))`;

export const LEDGER: Dashboard = {
  uid: 'stampede-ledger',
  title: 'Stampede: ledger',
  description: 'The way of claims from Redis to MySQL, and whether the books agree.',
  byCoupon: false,
  rows: [
    {
      title: 'Do the books agree?',
      panels: [
        {
          title: 'Invariants violated',
          description:
            'Where each invariant did not hold at the last reconciliation. Anything above 0 is an emergency.',
          unit: 'short',
          threshold: 1,
          queries: [{ expr: `max by (invariant) (stampede_invariant_violations{${OF}})`, legend: '{{invariant}}' }],
        },
        {
          title: 'Age of the last reconciliation',
          description: 'A finding is as good as it is fresh; after an hour somebody is told.',
          unit: 's',
          threshold: 3_600,
          queries: [{ expr: `time() - max(stampede_reconciliation_timestamp_seconds{${OF}})`, legend: 'age' }],
        },
        {
          title: 'Dead letters',
          description: 'Outbox entries that MySQL refuses: tried again by themselves, or parked until somebody looks.',
          unit: 'short',
          threshold: 1,
          queries: [{ expr: `max(stampede_dead_letters{${OF}})`, legend: 'dead letters' }],
        },
      ],
    },
    {
      title: 'Kept back',
      panels: [
        {
          title: 'Units withheld',
          description:
            'Numbers that a worker may have told before Redis forgot them. They go down by themselves when it reports; if it is dead, an operator decides.',
          unit: 'short',
          threshold: 1,
          queries: [{ expr: `max(stampede_withheld_units{${OF}})`, legend: 'all coupons' }],
        },
        {
          title: 'Units withheld, by coupon',
          description: 'The same of the newest 50 coupons: which ones to look at, and to release.',
          unit: 'short',
          queries: [{ expr: `max by (coupon) (stampede_coupon_withheld{${OF}})`, legend: '{{coupon}}' }],
        },
      ],
    },
    {
      title: 'Outbox',
      panels: [
        {
          title: 'Lag',
          description:
            'Age of the oldest entry that is not in MySQL. Steady below a second; growing: MySQL is slow or away.',
          unit: 's',
          threshold: 30,
          queries: [{ expr: `max by (instance) (stampede_ledger_lag_seconds{${OF}})`, legend: '{{instance}}' }],
        },
        {
          title: 'Entries',
          description:
            'Entries of all outbox streams, each of up to 100 claims. Claims stop with ledger_behind at LEDGER_WINDOW for one coupon.',
          unit: 'short',
          queries: [{ expr: `max by (instance) (stampede_outbox_entries{${OF}})`, legend: '{{instance}}' }],
        },
        {
          title: 'Shards',
          description: 'By state. Claims of a shard that is not open are answered 503 fenced.',
          unit: 'short',
          queries: [{ expr: `max by (state) (stampede_shards{${OF}})`, legend: '{{state}}' }],
        },
      ],
    },
    {
      title: 'Writing',
      panels: [
        {
          title: 'Rows written',
          description: 'Claims found in MySQL after a write, beside the claims that were granted.',
          unit: 'wps',
          queries: [
            { expr: `sum(${rate(`stampede_ledger_rows_total{${OF}}`)})`, legend: 'written' },
            { expr: `sum(${rate(`stampede_claims_total{${OF},result="claimed"}`)})`, legend: 'claimed' },
          ],
        },
        {
          title: 'One batch',
          description:
            'Waiting for company and for a thread, the transaction, which batches of several shards may share, and reading back what needs it.',
          unit: 's',
          queries: [0.5, 0.99].map((q) => ({
            expr: quantile(q, 'stampede_ledger_write_duration_seconds'),
            legend: `p${q * 100}`,
          })),
        },
        {
          title: 'Claims per batch',
          description:
            'Claims, returns and changes of one batch, which is of one shard. Grows with the load; 5,000 is the most.',
          unit: 'short',
          queries: [
            {
              expr: `sum(${rate(`stampede_ledger_batch_size_sum{${OF}}`)}) / sum(${rate(`stampede_ledger_batch_size_count{${OF}}`)})`,
              legend: 'mean',
            },
          ],
        },
        {
          title: 'Batches that failed',
          description: 'MySQL did not take them; each is tried again until it does.',
          unit: 'ops',
          queries: [
            {
              expr: `sum by (instance) (${rate(`stampede_ledger_write_failures_total{${OF}}`)})`,
              legend: '{{instance}}',
            },
          ],
        },
        {
          title: 'Writer threads',
          description:
            'How busy each Piscina thread is. All at 1 while more and more batches wait: more LEDGER_THREADS, or a faster MySQL.',
          unit: 'percentunit',
          queries: [
            {
              expr: `max by (instance, thread) (stampede_writer_utilization_ratio{${OF}})`,
              legend: '{{instance}} {{thread}}',
            },
          ],
        },
        {
          title: 'Batches that wait',
          description:
            'For company, 10 ms at the most, or for a thread; one of a shard at the most. Beside them the threads, each of which writes one batch or a group of them.',
          unit: 'short',
          queries: [
            { expr: `sum by (instance) (stampede_ledger_waiting_batches{${OF}})`, legend: '{{instance}} waiting' },
            { expr: `sum by (instance) (stampede_writer_threads{${OF}})`, legend: '{{instance}} threads' },
          ],
        },
      ],
    },
    {
      title: 'Jobs',
      panels: [
        {
          title: 'Runs',
          description: 'Runs of jobs by how they ended.',
          unit: 'ops',
          queries: [
            { expr: `sum by (name, result) (${rate(`stampede_jobs_total{${OF}}`)})`, legend: '{{name}} {{result}}' },
          ],
        },
        {
          title: 'Time of a run',
          description: 'Mean of the runs of each job in 15 minutes.',
          unit: 's',
          queries: [
            {
              expr: `sum by (name) (increase(stampede_job_duration_seconds_sum{${OF}}[15m])) / sum by (name) (increase(stampede_job_duration_seconds_count{${OF}}[15m]))`,
              legend: '{{name}}',
            },
          ],
        },
        {
          title: 'Queues',
          description: 'Jobs of the BullMQ queues by state; failed ones are kept to be looked at.',
          unit: 'short',
          queries: [{ expr: `max by (queue, state) (stampede_queue_jobs{${OF}})`, legend: '{{queue}} {{state}}' }],
        },
      ],
    },
  ],
};
