// The dashboard of processes: who lives, what they use, and what they may leak.
import type { Dashboard } from './dashboard.js';

const OF = 'instance=~"$instance"';
const rate = (series: string): string => `rate(${series}[$__rate_interval])`;
const PROCESS = '{{instance}} {{process}}';

export const PROCESSES: Dashboard = {
  uid: 'stampede-processes',
  title: 'Stampede: processes and leaks',
  description: 'Who lives, what they use, and what they may leak.',
  byCoupon: false,
  rows: [
    {
      title: 'Supervision',
      panels: [
        {
          title: 'Workers',
          description:
            'By role and state. backoff: died, and waits for its restart. unready: its databases do not answer.',
          unit: 'short',
          queries: [{ expr: `sum by (role, state) (stampede_workers{${OF}}) > 0`, legend: '{{role}} {{state}}' }],
        },
        {
          title: 'Restarts in an hour',
          description: 'Workers that died and were started again.',
          unit: 'short',
          threshold: 3,
          queries: [
            {
              expr: `sum by (instance, role) (increase(stampede_worker_restarts_total{${OF}}[1h]))`,
              legend: '{{instance}} {{role}}',
            },
          ],
        },
        {
          title: 'Replacements in six hours',
          description: 'Workers that were replaced for their memory, and rolling reloads.',
          unit: 'short',
          queries: [
            {
              expr: `sum by (role) (increase(stampede_worker_memory_replacements_total{${OF}}[6h]))`,
              legend: 'memory {{role}}',
            },
            { expr: `sum by (result) (increase(stampede_reloads_total{${OF}}[6h]))`, legend: 'reload {{result}}' },
          ],
        },
      ],
    },
    {
      title: 'Leaks',
      panels: [
        {
          title: 'Lines that may leak',
          description:
            'Places in the code whose live promises, timers or sockets grow, by the verdict of the diagnostics: see /debug.',
          unit: 'short',
          threshold: 1,
          queries: [
            { expr: `sum by (instance, role) (stampede_leak_suspects{${OF}})`, legend: '{{instance}} {{role}}' },
          ],
        },
        {
          title: 'Async resources',
          description:
            'Live promises, timers, sockets and others, as the recorder knows them. Flat under a steady load.',
          unit: 'short',
          queries: [{ expr: `sum by (type) (stampede_async_resources{${OF}})`, legend: '{{type}}' }],
        },
        {
          title: 'Handles',
          description: 'What keeps the event loops alive, as Node knows it.',
          unit: 'short',
          queries: [{ expr: `sum by (type) (nodejs_active_resources{${OF}})`, legend: '{{type}}' }],
        },
      ],
    },
    {
      title: 'Memory',
      panels: [
        {
          title: 'Resident memory',
          description: 'Of each process, its threads included. WORKER_MEMORY_MAX_MB is about this.',
          unit: 'bytes',
          queries: [{ expr: `process_resident_memory_bytes{${OF}}`, legend: PROCESS }],
        },
        {
          title: 'Heap in use',
          description:
            'Of the main thread: a saw whose teeth stand on a level line is well, one on a rising line leaks.',
          unit: 'bytes',
          queries: [{ expr: `nodejs_heap_size_used_bytes{${OF}}`, legend: PROCESS }],
        },
        {
          title: 'Outside of the heap',
          description: 'Buffers and other memory that V8 knows of.',
          unit: 'bytes',
          queries: [{ expr: `nodejs_external_memory_bytes{${OF}}`, legend: PROCESS }],
        },
      ],
    },
    {
      title: 'Time',
      panels: [
        {
          title: 'CPU',
          description: 'Cores that a process uses; above 1 its threads work, too.',
          unit: 'none',
          queries: [{ expr: rate(`process_cpu_seconds_total{${OF}}`), legend: PROCESS }],
        },
        {
          title: 'Event loop delay, p99',
          description:
            'How late timers are, between one scrape and the next. Everything that a process answers is late by it.',
          unit: 's',
          threshold: 0.25,
          queries: [{ expr: `nodejs_eventloop_lag_p99_seconds{${OF}}`, legend: PROCESS }],
        },
        {
          title: 'Garbage collection',
          description: 'Part of the time that the main thread is stopped for it.',
          unit: 'percentunit',
          queries: [
            {
              expr: `sum by (instance, process) (${rate(`nodejs_gc_duration_seconds_sum{${OF}}`)})`,
              legend: PROCESS,
            },
          ],
        },
      ],
    },
    {
      title: 'Is what is seen all there is?',
      panels: [
        {
          title: 'Silent processes',
          description:
            'Processes that did not answer the last scrape within a second; their gauges are missing from it.',
          unit: 'short',
          threshold: 1,
          queries: [
            { expr: `sum by (instance, role) (stampede_silent_processes{${OF}})`, legend: '{{instance}} {{role}}' },
          ],
        },
        {
          title: 'Collectors that failed',
          description: 'Metrics that could not be read, most often because a database is away.',
          unit: 'ops',
          queries: [
            {
              expr: `sum by (collector) (${rate(`stampede_collector_failures_total{${OF}}`)})`,
              legend: '{{collector}}',
            },
          ],
        },
        {
          title: 'Open files',
          description: 'File descriptors of each process, connections included.',
          unit: 'short',
          queries: [{ expr: `process_open_fds{${OF}}`, legend: PROCESS }],
        },
      ],
    },
  ],
};
