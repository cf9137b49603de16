// The metrics of the diagnostics: what this process's own agent knows, asked of it for every scrape. Registers with the
// `Metrics` of the process; never reads the recorder itself.
import { askDebug } from '../diagnostics/endpoints/proxy.js';
import type { Summary } from '../diagnostics/endpoints/summary.js';
import type { Metrics } from '../platform/metrics/metrics.js';

/** Below what a collector may take. */
const ASK_TIMEOUT_MS = 600;
const MS_PER_SECOND = 1_000;

/** `socketPath`: of the agent of this process. */
export function registerDiagnosticsMetrics(metrics: Metrics, role: string, socketPath: string): void {
  const resources = metrics.gauge(
    'stampede_async_resources',
    'Live async resources by type: promises that are pending, timers, sockets, servers and so on. Promises are estimated from a sample.',
    ['role', 'type'],
  );
  const promises = metrics.gauge(
    'stampede_promises',
    'Promises by state: pending, or abandoned (collected while pending, since the start). Estimated from a sample.',
    ['role', 'state'],
  );
  const suspects = metrics.gauge(
    'stampede_leak_suspects',
    'Lines of code that the leak detector suspects or calls leaking.',
    ['role'],
  );
  const leaking = metrics.gauge('stampede_leaking_lines', 'Of these, the lines that it calls leaking.', ['role']);
  const utilization = metrics.gauge(
    'stampede_event_loop_utilization_ratio',
    'Share of the last two seconds in which the event loop was busy, of the busiest process.',
    ['role'],
    'max',
  );
  const delay = metrics.gauge(
    'stampede_event_loop_delay_max_seconds',
    'How late the event loop was at most within the last two seconds, of the latest process.',
    ['role'],
    'max',
  );
  const bytes = metrics.gauge('stampede_recorder_bytes', 'Memory of the recorder itself, estimated.', ['role']);
  metrics.collect('diagnostics', [resources, promises, suspects, leaking, utilization, delay, bytes], async () => {
    const summary = (await askDebug(socketPath, '/debug/summary', ASK_TIMEOUT_MS)) as Summary;
    // While a place is handed over the socket is its successor's, who reports for itself.
    if (summary.process.pid !== process.pid) return;
    for (const [type, live] of Object.entries(summary.liveByType))
      resources.inc({ role, type: boundedType(type) }, live);
    promises.set({ role, state: 'pending' }, summary.promises.pending);
    promises.set({ role, state: 'abandoned' }, summary.promises.abandoned);
    suspects.set({ role }, summary.leaks.sites.length);
    leaking.set({ role }, summary.leaks.sites.filter(({ verdict }) => verdict === 'leaking').length);
    if (summary.vitals !== undefined) {
      utilization.set({ role }, summary.vitals.loop.utilization);
      delay.set({ role }, summary.vitals.loop.delayMs.max / MS_PER_SECOND);
    }
    if (summary.recorder !== undefined) bytes.set({ role }, summary.recorder.own.bytes);
  });
}

/** Listeners have the name of their event in their type, and a program may name events as it likes. */
function boundedType(type: string): string {
  return type.endsWith(' listener') ? 'listener' : type;
}
