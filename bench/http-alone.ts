// The http role alone in this process, without a cluster, for tools and benchmarks that watch one process. Settings come from
// the environment as for the service, and so does whether it has its diagnostics agent. Says to whoever has forked it that it
// is ready. Ends in order when it shall: on SIGINT, with the channel to whoever has forked it, and when clinic plays the event
// that Node has for a program with nothing left to do.
import { startProcessDiagnostics } from '../cluster/diagnostics.js';
import { createActor } from '../cluster/http/actor.js';
import { createLog } from '../platform/log.js';
import { Metrics } from '../platform/metrics/metrics.js';
import { readSettings } from '../platform/settings.js';

const NAME = 'http-alone';
const ROLE = 'http';
/**
 * In which the tool should have written its files and ended the process itself. Bubbleprof does not always: Node loses count
 * of the writes that it makes from within its hook, and never says that they are done, though they are.
 */
const TOOL_EXIT_MS = 5_000;

/** What it says when it is ready. */
export interface HttpAloneReady {
  /** Of its diagnostics agent; absent where it has none. */
  readonly socketPath?: string;
}

const settings = readSettings(process.env);
const log = createLog(NAME, 'warn');
const metrics = new Metrics({ name: NAME, role: ROLE, log });
const diagnostics = startProcessDiagnostics({ name: NAME, role: ROLE, settings, metrics, log });
const actor = createActor({
  name: NAME,
  settings,
  log,
  metrics,
  cluster: { processes: () => Promise.resolve([]), metrics: () => Promise.resolve([]) },
  fail: (error) => {
    throw error;
  },
});
const end = (): void => {
  actor.drain(Date.now() + settings.drainTimeoutMs).then(
    () => process.exit(0),
    (error: unknown) => {
      log.error({ err: error }, 'drain failed');
      process.exit(1);
    },
  );
};
process.once('SIGINT', end);
process.once('disconnect', end);
process.once('beforeExit', () => setTimeout(end, TOOL_EXIT_MS));
await actor.start();
const socketPath = await diagnostics?.listening();
const ready: HttpAloneReady = socketPath === undefined ? {} : { socketPath };
process.send?.(ready);
