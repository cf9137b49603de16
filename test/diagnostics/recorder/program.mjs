// A plain program with one of everything that the recorder follows, for recorder.test.ts: imports by name, as programs
// do, before the recorder starts. Run with --expose-gc; writes its snapshots as JSON.
import { EventEmitter, once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setImmediate, setTimeout as timeoutByName } from 'node:timers';
import { scheduler, setInterval as ticksEvery, setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { startRecorder } from '../../../dist/diagnostics/recorder/recorder.js';

/** Of each of thirteen kinds of timer: fewer than a burst from which the recorder begins to sample. */
const COUNT = 14;
const HOUR_MS = 3_600_000;
const { AbortSignal, clearTimeout } = globalThis;
const functionsOfNode = () => [
  globalThis.setTimeout,
  AbortSignal.timeout,
  EventEmitter.prototype.on,
  promisify(globalThis.setTimeout),
];
const before = functionsOfNode();
const recorder = startRecorder({ sweepMs: 20 });
const kept = [];

const makes = {
  heldPromise: () => kept.push(new Promise((resolve) => kept.push(resolve))),
  settledPromise: () => kept.push(Promise.resolve(1)),
  abandonedAwait: async () => await new Promise(() => {}),
  unrefTimeout: () => globalThis.setTimeout(() => {}, HOUR_MS).unref(),
  timeoutByName: () => timeoutByName(() => {}, HOUR_MS).unref(),
  interval: () => globalThis.setInterval(() => {}, HOUR_MS).unref(),
  clearedTimeout: () => clearTimeout(globalThis.setTimeout(() => {}, HOUR_MS)),
  firedTimeout: () => globalThis.setTimeout(() => {}, 1),
  immediate: () => setImmediate(() => {}),
  sleep: () => kept.push(sleep(HOUR_MS, undefined, { ref: false })),
  waiting: () => kept.push(scheduler.wait(HOUR_MS, { ref: false })),
  ticks: () => kept.push(ticksEvery(HOUR_MS, undefined, { ref: false })),
  leftTicks: () => ticksEvery(HOUR_MS, undefined, { ref: false }).return(),
  droppedTicks: () => ticksEvery(HOUR_MS),
  abortedTicks: () => ticksEvery(HOUR_MS, undefined, { ref: false, signal: AbortSignal.abort() }),
  signalTimeout: () => kept.push(AbortSignal.timeout(HOUR_MS)),
};
const emitter = new EventEmitter().setMaxListeners(0);
const listeners = {
  listener: () => emitter.on('x', () => {}),
  onceListener: () => once(emitter, 'y'),
  removedListener: () => {
    const listener = () => {};
    emitter.on('x', listener).off('x', listener);
  },
};
for (const make of [...Object.values(makes), ...Object.values(listeners)]) {
  for (let i = 0; i < COUNT; i++) make();
}
const server = createServer().listen(0, '127.0.0.1');
await once(server, 'listening');
const accepted = once(server, 'connection');
const socket = connect(server.address().port, '127.0.0.1');
kept.push(socket);
await accepted;
// Last: more of them at once than its budget allows would make the recorder sample.
const closedServer = createServer().listen(0, '127.0.0.1');
await once(closedServer, 'listening');
closedServer.close();
const refused = createServer().listen(server.address().port, '127.0.0.1');
await once(refused, 'error');

// Until what must go has gone: the collected promises.
const countOf = (kind) =>
  recorder
    .snapshot()
    .sites.filter((site) => site.kind === kind)
    .reduce((sum, { live }) => sum + live, 0);
for (let turn = 0; turn < 200 && countOf('abandoned') < 3 * COUNT; turn++) {
  await sleep(10);
  // In a turn of its own: what a sweep has looked at lives to the end of its turn.
  globalThis.gc();
}
const snapshot = recorder.snapshot();

recorder.startTrace({ mode: 'all', maxEntries: 50 });
await sleep(1);
const trace = recorder.stopTrace();
recorder.startTrace({ mode: 'promises', maxEntries: 2 });
await Promise.all([1, 2, 3].map(async (each) => each));
const full = recorder.stopTrace();

recorder.stop();
const after = functionsOfNode();
const isRestored = after.every((each, index) => each === before[index]);
process.stdout.write(JSON.stringify({ snapshot, trace, full, isRestored, stopped: recorder.snapshot() }), () =>
  process.exit(),
);
