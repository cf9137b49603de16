// The diagnostics thread's entry: puts its parts together, listens on the Unix socket, closes when told. It ends with its
// process; the main thread removes the socket then (host.ts).
import path from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { Collector } from '../collection/collector.js';
import { createDetector } from '../detector/detector.js';
import type { AgentParts } from '../endpoints/debug-request.js';
import { takeEvidence } from '../endpoints/evidence.js';
import { DebugServer } from '../endpoints/server.js';
import { SourceMaps } from '../recorder/source-map.js';
import { HeavyGate } from './heavy-gate.js';
import { MainLink } from './main-link.js';
import { CLOSE } from './messages.js';
import type { Notice, ThreadData } from './messages.js';
import { OtherThreads } from './other-threads.js';
import { ProcessSnapshots } from './process-snapshots.js';
import { isAlive, prepareFolder, sweepDeadSockets, withSuffix } from './socket-path.js';
import { Watch } from './watch.js';

const port = parentPort;
if (port === null) throw new Error('this file is run as a thread by diagnostics/agent/host.ts');
const data = workerData as ThreadData;
const link = new MainLink(port);
const threads = new OtherThreads();
const maps = new SourceMaps();
const processSnapshots = new ProcessSnapshots(link, threads, maps);
const { windowMs } = data;
const notify = (notice: Notice): void => port.postMessage(notice);
const collector =
  data.collection &&
  new Collector({
    ...data.collection,
    name: data.name,
    take: async (action) => takeEvidence(action, agent),
    tell: (news) => notify({ notice: 'collected', news }),
  });
const watch = new Watch({
  link,
  snapshots: processSnapshots,
  detector: createDetector(windowMs === undefined ? {} : { windowMs }),
  windowMs,
  observe: collector && (async (observation) => collector.observe(observation)),
});
const agent: AgentParts = {
  data,
  link,
  processSnapshots,
  threads,
  watch,
  gate: new HeavyGate(),
  snapshots: new HeavyGate(),
  maps,
};
const server = new DebugServer(agent);

port.on('message', (message: unknown) => {
  if (message === CLOSE) started.then(close, close);
});

const started = start();

async function start(): Promise<void> {
  try {
    const socketPath = await claimSocket(data.socketPath);
    const inode = await server.listen(socketPath);
    watch.start();
    notify({ notice: 'listening', socketPath, inode });
  } catch (error) {
    notify({ notice: 'failed', reason: error instanceof Error ? error.message : String(error) });
    leave();
  }
}

/** Nothing is to be done about an error of closing: the main thread ends the thread after a time limit. */
function close(): void {
  watch.stop();
  server.close().then(leave, leave);
}

/** Lets go of what keeps this thread alive. */
function leave(): void {
  threads.close();
  port?.close();
}

/** The path if it is free, or its owner is dead or to be relieved; where a living process listens, the path with this pid. */
async function claimSocket(wanted: string): Promise<string> {
  prepareFolder(wanted);
  await sweepDeadSockets(path.dirname(wanted));
  const taken = !data.takesOver && (await isAlive(wanted));
  const free = taken ? withSuffix(wanted, data.pid) : wanted;
  prepareFolder(free);
  return free;
}
