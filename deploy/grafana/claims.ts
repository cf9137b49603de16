// The dashboard of claims: what users are told, how fast, and what is left.
import type { Dashboard } from './dashboard.js';

const OF = 'instance=~"$instance"';
const COUPON = 'instance=~"$instance",coupon=~"$coupon"';
const NO_ANSWER = 'result=~"overloaded|fenced|ledger_behind|unavailable|outcome_unknown|internal"';
const rate = (series: string): string => `rate(${series}[$__rate_interval])`;
const quantile = (q: number, histogram: string): string =>
  `histogram_quantile(${q}, sum by (le) (${rate(`${histogram}_bucket{${OF}}`)}))`;

export const CLAIMS: Dashboard = {
  uid: 'stampede-claims',
  title: 'Stampede: claims',
  description: 'What users are told, how fast, and what is left of the coupons.',
  byCoupon: true,
  rows: [
    {
      title: 'Objectives',
      panels: [
        {
          title: 'Claims',
          description: 'Claims answered in a second, whatever the answer.',
          unit: 'reqps',
          kind: 'stat',
          queries: [{ expr: `sum(${rate(`stampede_claims_total{${OF}}`)})`, legend: 'claims' }],
        },
        {
          title: 'Claims without an answer',
          description:
            'Part of the claims of five minutes that were told to try again. The objective is 0.1 %; at 1.44 % its budget of 30 days is gone in two.',
          unit: 'percentunit',
          kind: 'stat',
          threshold: 0.0144,
          queries: [{ expr: `max(instance:stampede_claims_unanswered:ratio_rate5m{${OF}})`, legend: 'unanswered' }],
        },
        {
          title: 'Claims slower than 250 ms',
          description: 'Part of the claims of five minutes that took longer than the objective, which 99 % shall keep.',
          unit: 'percentunit',
          kind: 'stat',
          threshold: 0.144,
          queries: [{ expr: `max(instance:stampede_claims_slow:ratio_rate5m{${OF}})`, legend: 'slow' }],
        },
      ],
    },
    {
      title: 'Answers',
      panels: [
        {
          title: 'Claims by answer',
          description:
            'claimed and already_claimed are receipts; sold_out, not_open, ended, paused are refusals by the coupon.',
          unit: 'reqps',
          queries: [{ expr: `sum by (result) (${rate(`stampede_claims_total{${OF}}`)})`, legend: '{{result}}' }],
        },
        {
          title: 'Claims without an answer, by cause',
          description:
            'overloaded: too many wait. fenced: a shard is rebuilt. ledger_behind: MySQL is too far behind. unavailable: not sent. outcome_unknown: sent, and no reply.',
          unit: 'reqps',
          queries: [
            { expr: `sum by (result) (${rate(`stampede_claims_total{${OF},${NO_ANSWER}}`)})`, legend: '{{result}}' },
          ],
        },
        {
          title: 'Error budget burn',
          description:
            'How many times too fast the budget of the objective (99.9 % answered) goes; 14.4 wakes somebody.',
          unit: 'none',
          threshold: 14.4,
          queries: [
            { expr: `max(instance:stampede_claims_unanswered:ratio_rate1h{${OF}}) / 0.001`, legend: 'over 1 h' },
            { expr: `max(instance:stampede_claims_unanswered:ratio_rate6h{${OF}}) / 0.001`, legend: 'over 6 h' },
          ],
        },
      ],
    },
    {
      title: 'Time',
      panels: [
        {
          title: 'Time to an answer',
          description: 'From the arrival of a claim to its outcome, waiting for the acknowledgement level included.',
          unit: 's',
          threshold: 0.25,
          queries: [0.5, 0.95, 0.99].map((q) => ({
            expr: quantile(q, 'stampede_claim_duration_seconds'),
            legend: `p${q * 100}`,
          })),
        },
        {
          title: 'Time to an answer, all claims',
          description: 'Claims by how long they took: two bands mean two ways, such as two acknowledgement levels.',
          unit: 's',
          kind: 'heatmap',
          queries: [
            {
              expr: `sum by (le) (increase(stampede_claim_duration_seconds_bucket{${OF}}[$__rate_interval]))`,
              legend: '{{le}}',
            },
          ],
        },
        {
          title: 'Script call',
          description: 'One call of the claim script with its batch, to Redis and back.',
          unit: 's',
          queries: [0.5, 0.99].map((q) => ({
            expr: quantile(q, 'stampede_claim_call_duration_seconds'),
            legend: `p${q * 100}`,
          })),
        },
      ],
    },
    {
      title: 'Batches',
      panels: [
        {
          title: 'Claims per script call',
          description: 'Grows with the load by itself; 512 is the most.',
          unit: 'short',
          queries: [
            {
              expr: `sum(${rate(`stampede_claim_batch_size_sum{${OF}}`)}) / sum(${rate(`stampede_claim_batch_size_count{${OF}}`)})`,
              legend: 'mean',
            },
            { expr: quantile(0.99, 'stampede_claim_batch_size'), legend: 'p99' },
          ],
        },
        {
          title: 'Mailboxes',
          description:
            'Claims that wait for their script call. A mailbox that holds MAILBOX_DEPTH_MAX answers overloaded.',
          unit: 'short',
          queries: [{ expr: `sum by (instance) (stampede_mailbox_depth{${OF}})`, legend: '{{instance}}' }],
        },
      ],
    },
    {
      title: 'Coupons (the newest 50)',
      panels: [
        {
          title: 'Left',
          description: 'Units that can still be claimed, as Redis says.',
          unit: 'short',
          queries: [{ expr: `max by (coupon) (stampede_coupon_remaining{${COUPON}})`, legend: '{{coupon}}' }],
        },
        {
          title: 'Claimed per second',
          description: 'How fast a coupon goes.',
          unit: 'ops',
          queries: [{ expr: `max by (coupon) (${rate(`stampede_coupon_claimed{${COUPON}}`)})`, legend: '{{coupon}}' }],
        },
        {
          title: 'Part that is left',
          description: 'Of the units granted to a coupon.',
          unit: 'percentunit',
          queries: [
            {
              expr: `max by (coupon) (stampede_coupon_remaining{${COUPON}}) / max by (coupon) (stampede_coupon_stock{${COUPON}})`,
              legend: '{{coupon}}',
            },
          ],
        },
      ],
    },
  ],
};
