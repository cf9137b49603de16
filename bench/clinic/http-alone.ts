// The http role alone in this process, without a cluster, for tools that watch one process. Settings come from the
// environment as for the service. Ends in order on SIGINT, which is how such tools end what they watch.
import { createActor } from '../../cluster/http/actor.js';
import { createLog } from '../../platform/log.js';
import { Metrics } from '../../platform/metrics/metrics.js';
import { readSettings } from '../../platform/settings.js';

const NAME = 'http-alone';

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
process.once('SIGINT', () => {
  actor.drain(Date.now() + settings.drainTimeoutMs).then(
    () => process.exit(0),
    (error: unknown) => {
      log.error({ err: error }, 'drain failed');
      process.exit(1);
    },
  );
});
await actor.start();
