// What one process counts and measures. With merge.ts the only place that knows prom-client; it opens no port and talks to
// nobody: a snapshot is plain data, and others carry it.
//
// Each part of the service registers its own metrics with the `Metrics` that it is given, at its start:
//
//   const depth = metrics.gauge('stampede_mailbox_depth', 'Claims that wait in mailboxes.');
//   metrics.collect('mailbox', [depth], () => depth.set(line.depth));
//
// Names begin with `stampede_`, units are base units, counters end with `_total`. Series of all processes with the same
// labels are added up, unless the metric names another way. Labels must come from a small fixed set: never a user id.
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Log } from '../log.js';
import { within } from '../within.js';
import { totalsOf } from './snapshot.js';
import type { MetricSnapshot, Snapshot } from './snapshot.js';

export type { Counter, Gauge, Histogram } from 'prom-client';

/** What a collector may take; whoever asks for a snapshot waits a little longer than this. */
const COLLECT_LIMIT_MS = 700;

export interface MetricsOptions {
  /** `http-1`: the label `process` of Node's own metrics. */
  readonly name: string;
  readonly role: string;
  readonly log: Log;
  readonly collectLimitMs?: number;
}

interface Collector {
  readonly name: string;
  readonly gauges: readonly Gauge[];
  readonly run: () => void | Promise<void>;
  running: boolean;
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #collectors: Collector[] = [];
  readonly #options: MetricsOptions;
  readonly #failures: Tally;
  #snapshot: Promise<Snapshot> | undefined;

  constructor(options: MetricsOptions) {
    this.#options = options;
    const { name, role } = options;
    collectDefaultMetrics({ register: this.#registry, labels: { role, process: name } });
    this.#failures = this.tally(
      'stampede_collector_failures_total',
      'Collectors that failed or were late, so that their metrics are missing from a scrape.',
      'collector',
    );
  }

  /** Throws when the name is taken, as do the others. */
  counter(name: string, help: string, labels: readonly string[] = []): Counter {
    return new Counter({ name, help, labelNames: [...labels], registers: [this.#registry] });
  }

  /** A counter with one label for hot paths. */
  tally(name: string, help: string, label: string): Tally {
    const tally = new Tally();
    new Counter({
      name,
      help,
      labelNames: [label],
      registers: [this.#registry],
      collect() {
        this.reset();
        for (const [value, count] of tally.counts) this.inc({ [label]: value }, count);
      },
    });
    return tally;
  }

  gauge(name: string, help: string, labels: readonly string[] = [], aggregator: 'sum' | 'max' = 'sum'): Gauge {
    const gauge = new Gauge({ name, help, labelNames: [...labels], registers: [this.#registry], aggregator });
    // Without labels prom-client begins at 0. Nobody has measured that.
    gauge.remove({});
    return gauge;
  }

  /** `buckets`: upper edges, ascending. */
  histogram(name: string, help: string, buckets: readonly number[], labels: readonly string[] = []): Histogram {
    return new Histogram({ name, help, buckets: [...buckets], labelNames: [...labels], registers: [this.#registry] });
  }

  /**
   * Adds a collector: it runs for every snapshot and sets `gauges`, which hold nothing from an earlier run. One that throws or
   * takes longer than the limit leaves them without a value, and is counted; the snapshot goes on without it.
   */
  collect(name: string, gauges: readonly Gauge[], run: () => void | Promise<void>): void {
    this.#failures.announce([name]);
    this.#collectors.push({ name, gauges, run, running: false });
  }

  /** Everything, freshly collected. Callers at the same time share one. Never rejects. */
  snapshot(): Promise<Snapshot> {
    this.#snapshot ??= this.#take().finally(() => {
      this.#snapshot = undefined;
    });
    return this.#snapshot;
  }

  /** Counters and histograms alone; no collector runs, so it works while everything else is closed already. */
  async totals(): Promise<Snapshot> {
    return totalsOf(await this.#read());
  }

  async #take(): Promise<Snapshot> {
    await Promise.all(this.#collectors.map((collector) => this.#run(collector)));
    return this.#read();
  }

  async #run(collector: Collector): Promise<void> {
    const { name, gauges } = collector;
    for (const gauge of gauges) clear(gauge);
    // One that never comes back must not be started again and again.
    if (collector.running) {
      this.#failures.count(name);
      return;
    }
    collector.running = true;
    const running = Promise.resolve()
      .then(() => collector.run())
      .then(
        () => true,
        (error: unknown) => {
          this.#options.log.debug({ err: error, collector: name }, 'metrics not collected');
          return false;
        },
      )
      .finally(() => {
        collector.running = false;
      });
    if (await within(this.#options.collectLimitMs ?? COLLECT_LIMIT_MS, running, false)) return;
    this.#failures.count(name);
    for (const gauge of gauges) clear(gauge);
  }

  async #read(): Promise<Snapshot> {
    const metrics = (await this.#registry.getMetricsAsJSON()) as unknown as MetricSnapshot[];
    return metrics.map(({ name, help, type, aggregator, values }) => ({
      name,
      help,
      type,
      // prom-client leaves the start time out of merges; with a series per process it makes sense.
      aggregator: aggregator === 'omit' ? 'max' : aggregator,
      // The delay of an event loop that nobody has measured yet is NaN, which is null by the time it is printed.
      values: values
        .filter(({ value }) => Number.isFinite(value))
        .map(({ labels, value, metricName }) => ({ labels, value, ...(metricName !== undefined && { metricName }) })),
    }));
  }
}

/** Counts by one label, at the price of a look-up in a Map. */
export class Tally {
  readonly counts = new Map<string, number>();

  /** Values that are named before anything happens are reported as 0, so that the first increase is seen as one. */
  announce(values: Iterable<string>): void {
    for (const value of values) this.count(value, 0);
  }

  count(value: string, by = 1): void {
    this.counts.set(value, (this.counts.get(value) ?? 0) + by);
  }
}

function clear(gauge: Gauge): void {
  gauge.reset();
  // Of a gauge without labels, reset() makes 0.
  gauge.remove({});
}
