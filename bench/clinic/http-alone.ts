// The http role alone in this process, without a cluster, for tools that watch one process. Settings come from the
// environment as for the service. Ends in order when such a tool wants it to: on SIGINT, and when the tool plays the event
// that Node has for a program with nothing left to do.
import { createActor } from '../../cluster/http/actor.js';
import { createLog } from '../../platform/log.js';
import { Metrics } from '../../platform/metrics/metrics.js';
import { readSettings } from '../../platform/settings.js';

const NAME = 'http-alone';
/**
 * In which the tool should have written its files and ended the process itself. Bubbleprof does not always: Node loses count
 * of the writes that it makes from within its hook, and never says that they are done, though they are.
 */
const TOOL_EXIT_MS = 5_000;

const settings = readSettings(process.env);
const log = createLog(NAME, 'warn');
const actor = createActor({
  name: NAME,
  settings,
  log,
  metrics: new Metrics({ name: NAME, role: 'http', log }),
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
process.once('beforeExit', () => setTimeout(end, TOOL_EXIT_MS));
await actor.start();
