// A primary of the built program in a process of its own, told what to do over IPC by test/cluster/primary/instance.ts.
import { writeSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath, URL } from 'node:url';

const { Primary } = await import(new URL('../../../dist/cluster/primary/primary.js', import.meta.url).href);
const { Metrics } = await import(new URL('../../../dist/platform/metrics/metrics.js', import.meta.url).href);
const { createLog } = await import(new URL('../../../dist/platform/log.js', import.meta.url).href);

const log = createLog('primary', 'info');
const primary = new Primary({
  ...JSON.parse(process.env.TEST_INSTANCE),
  workerScript: fileURLToPath(new URL('./test-actors.mjs', import.meta.url)),
  workerEnvironment: {},
  log,
  metrics: new Metrics({ name: 'primary', role: 'primary', log }),
  saveHeapProfile: (actor) => {
    writeSync(1, `${JSON.stringify({ actor, pid: process.pid, event: 'profile' })}\n`);
    return Promise.resolve(`profile of ${actor}`);
  },
  onChange: () => process.send({ processes: primary.processes() }),
});
process.on('message', (command) => {
  void primary[command]();
});
// The parent died: no orphan may outlive the test run.
process.on('disconnect', () => primary.hurry());
primary.start();
const ending = await primary.ended;
process.send({ ending }, () => process.exit(ending.code));
