// All dashboards, and the files that they become.
import { CLAIMS } from './claims.js';
import { dashboardJson } from './dashboard.js';
import type { Dashboard } from './dashboard.js';
import { LEDGER } from './ledger.js';
import { PROCESSES } from './processes.js';

export const DASHBOARDS: readonly Dashboard[] = [CLAIMS, LEDGER, PROCESSES];

/** Names in deploy/grafana/dashboards, and their contents. */
export function dashboardFiles(): Map<string, string> {
  return new Map(
    DASHBOARDS.map((dashboard) => [`${dashboard.uid}.json`, `${JSON.stringify(dashboardJson(dashboard), null, 2)}\n`]),
  );
}
