// Many snapshots become one, and one becomes the text that Prometheus reads. Pure functions over plain data.
import { AggregatorRegistry } from 'prom-client';
import type { MetricSnapshot, Snapshot } from './snapshot.js';

/** Of the text format, version 0.0.4. */
export const METRICS_CONTENT_TYPE = AggregatorRegistry.PROMETHEUS_CONTENT_TYPE;

/** One snapshot with every series once: those with the same labels are added up, or what their metric says. */
export function mergeSnapshots(snapshots: readonly Snapshot[]): Snapshot {
  // What `aggregate` registers are the merged metrics themselves, with a function added.
  const merged = aggregate(snapshots).getMetricsAsArray() as unknown as MetricSnapshot[];
  return merged.map(({ name, help, type, aggregator, values }) => ({ name, help, type, aggregator, values }));
}

/** The merged snapshots in Prometheus' text format. */
export async function metricsText(snapshots: readonly Snapshot[]): Promise<string> {
  return await aggregate(snapshots).metrics();
}

function aggregate(snapshots: readonly Snapshot[]) {
  return AggregatorRegistry.aggregate(snapshots as unknown as object[][]);
}
