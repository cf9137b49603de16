// Where the service and the diagnostics room meet: gives a process of the cluster its agent, on the socket of its name
// below STAMPEDE_DIR. Knows the settings; knows nothing of what the process does.
import { join } from 'node:path';
import { startDiagnostics } from '../diagnostics/start.js';
import type { Diagnostics } from '../diagnostics/start.js';
import type { Log } from '../platform/log.js';
import type { Settings } from '../platform/settings.js';

export type DiagnosticsSettings = Pick<Settings, 'dir' | 'diagnostics' | 'leakWindowMs'>;

/** Folder of the sockets, 0700: `cli/start.ts` makes it. */
export function socketFolder(settings: Pick<Settings, 'dir'>): string {
  return join(settings.dir, 'run');
}

/**
 * Starts the agent of this process, or none where it is switched off. `name` is that of the process in the cluster. The
 * agent needs no stop: it goes with the process, and its replacement takes the socket over.
 */
export function startProcessDiagnostics(
  name: string,
  settings: DiagnosticsSettings,
  log: Log,
): Diagnostics | undefined {
  if (settings.diagnostics === 'off') return undefined;
  return startDiagnostics({
    name,
    socketPath: join(socketFolder(settings), `${name}.sock`),
    windowMs: settings.leakWindowMs,
    warn: (reason) => log.warn({ reason }, 'diagnostics are incomplete'),
  });
}
