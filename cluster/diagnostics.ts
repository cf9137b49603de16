// Where the service and the diagnostics room meet: gives a process of the cluster its agent, on the socket of its name
// below STAMPEDE_DIR. Knows the settings; knows nothing of what the process does.
import { join } from 'node:path';
import { parseRules } from '../diagnostics/collection/rules.js';
import { startDiagnostics } from '../diagnostics/start.js';
import type { Diagnostics, DiagnosticsOptions } from '../diagnostics/start.js';
import { ConfigurationError, messageOf } from '../platform/errors.js';
import type { Log } from '../platform/log.js';
import type { Metrics } from '../platform/metrics/metrics.js';
import type { Settings } from '../platform/settings.js';
import type { Role } from './actor.js';
import { registerDiagnosticsMetrics } from './diagnostics-metrics.js';

export type DiagnosticsSettings = Pick<
  Settings,
  'dir' | 'diagnostics' | 'leakWindowMs' | 'collectionRules' | 'collectionsPerHour'
>;

/** Folder of the sockets, 0700: `cli/start.ts` makes it. */
export function socketFolder(settings: Pick<Settings, 'dir'>): string {
  return join(settings.dir, 'run');
}

export interface WatchedSelf {
  /** Of this process in the cluster. */
  readonly name: string;
  readonly role: Role | 'primary';
  readonly settings: DiagnosticsSettings;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Called before this process stands still, for `limitMs` at most; resolves with what is to follow. Absent where nobody minds. */
  readonly rest?: (limitMs: number) => Promise<() => Promise<void>>;
}

/**
 * Starts the agent of this process, or none where it is switched off. The agent needs no stop: it goes with the process,
 * and its replacement takes the socket over.
 */
export function startProcessDiagnostics(self: WatchedSelf): Diagnostics | undefined {
  const { name, role, settings, metrics, log, rest } = self;
  if (settings.diagnostics === 'off') return undefined;
  const socketPath = join(socketFolder(settings), `${name}.sock`);
  registerDiagnosticsMetrics(metrics, role, socketPath);
  return startDiagnostics({
    name,
    socketPath,
    windowMs: settings.leakWindowMs,
    warn: (reason) => log.warn({ reason }, 'diagnostics are incomplete'),
    ...collection(settings, log),
    ...(rest !== undefined && { rest }),
  });
}

function collection({ dir, collectionRules, collectionsPerHour }: DiagnosticsSettings, log: Log): DiagnosticsOptions {
  if (collectionRules === undefined) return {};
  try {
    parseRules(collectionRules);
  } catch (error) {
    throw new ConfigurationError(`COLLECT_WHEN: ${messageOf(error)}`);
  }
  return {
    collection: {
      rules: collectionRules,
      folder: join(dir, 'collected'),
      actionsPerHourMax: collectionsPerHour,
      tell: (news) => log.warn({ news }, 'evidence collected'),
    },
  };
}
