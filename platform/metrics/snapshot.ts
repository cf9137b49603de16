// The metrics of a process as plain data: what travels between processes and what is merged. Shapes only.

/** One metric with all its series, as prom-client's `getMetricsAsJSON` gives it. */
export interface MetricSnapshot {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  /** How series of the same labels become one: `sum`, `max`, `min`, `average` or `first`. */
  readonly aggregator: string;
  readonly values: readonly SeriesSnapshot[];
}

interface SeriesSnapshot {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  /** Of histograms: the name with `_bucket`, `_sum` or `_count`. */
  readonly metricName?: string;
}

export type Snapshot = readonly MetricSnapshot[];

const AGGREGATORS: readonly unknown[] = ['sum', 'max', 'min', 'average', 'first'];

/** What another process sent: one bad value would make the whole scrape unreadable. */
export function isSnapshot(raw: unknown): raw is Snapshot {
  return Array.isArray(raw) && raw.every(isMetric);
}

/** Counters and histograms: what has happened, and stays true when the process is gone. */
export function totalsOf(snapshot: Snapshot): Snapshot {
  return snapshot.filter(({ type }) => type === 'counter' || type === 'histogram');
}

function isMetric(raw: unknown): boolean {
  if (!isFields(raw)) return false;
  const { name, help, type, aggregator, values } = raw;
  const texts = typeof name === 'string' && typeof help === 'string' && typeof type === 'string';
  return texts && AGGREGATORS.includes(aggregator) && Array.isArray(values) && values.every(isSeries);
}

function isSeries(raw: unknown): boolean {
  return isFields(raw) && isFields(raw['labels']) && Number.isFinite(raw['value']);
}

function isFields(raw: unknown): raw is Readonly<Record<string, unknown>> {
  return typeof raw === 'object' && raw !== null;
}
