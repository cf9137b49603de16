// Preloaded into the processes of a service that is measured (claims.ts): SIGUSR2 stops the diagnostics agent of this
// process, or starts it again. So both sides of the comparison are one process, with the same code compiled by the same
// heuristics. Its Unix socket tells which side it is.
import { startDiagnostics } from '../../diagnostics/start.js';

const agent = startDiagnosticsOf(process.env['STAMPEDE_ROLE']);

/** Undefined in a process that is not measured. */
function startDiagnosticsOf(role: string | undefined): { toggle(): Promise<void> } | undefined {
  if (role !== 'http') return undefined;
  let stopped: string | undefined;
  return {
    async toggle() {
      if (stopped !== undefined) {
        startDiagnostics({ name: role, socketPath: stopped });
        stopped = undefined;
        return;
      }
      // The one that the service has started: there is one per thread.
      const running = startDiagnostics();
      stopped = await running.listening();
      await running.stop();
    },
  };
}

process.on('SIGUSR2', () => {
  agent?.toggle().catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
