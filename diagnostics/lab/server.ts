// A process of the lab: one variant of one case behind an HTTP server, with the recorder and the detector. Forked by
// run-case.ts; tells its port, then every new verdict; ends when the channel does.
import { createServer } from 'node:http';
import { createDetector } from '../detector/detector.js';
import type { LeakReport } from '../model.js';
import { startRecorder } from '../recorder/recorder.js';
import { SourceMaps } from '../recorder/source-map.js';
import { listen } from './case.js';
import { isCaseName, loadCase } from './cases.js';

/** 18 snapshots and more a window. */
const SNAPSHOTS_PER_WINDOW = 18;

export type ServerMessage = { readonly port: number } | { readonly report: LeakReport };

const [name = '', variant, windowMs] = process.argv.slice(2);
if (!isCaseName(name)) throw new RangeError(`no case is called ${name}`);
// Before the case is loaded: what it makes at start is recorded too. The looking itself is not.
const { setInterval } = globalThis;
const recorder = startRecorder();
const maps = new SourceMaps();
const detector = createDetector({ windowMs: Number(windowMs) });

const { leaking, fixed } = await loadCase(name);
const handler = await (variant === 'leaking' && leaking !== undefined ? leaking : fixed)();
const server = createServer((request, response) => {
  // A handler that fails costs its client the connection, as in any server; the lab is not about that.
  Promise.resolve(handler(request, response)).catch(() => response.destroy());
});
// Those that the leaks throw where nobody catches are part of them.
process.on('unhandledRejection', () => undefined);
process.on('disconnect', () => process.exit());

const tell = (message: ServerMessage): void => {
  if (process.connected) process.send?.(message);
};
tell({ port: await listen(server) });
setInterval(
  () => {
    const snapshot = recorder.snapshot();
    detector.add({ ...snapshot, sites: maps.withSources(snapshot.sites) });
    tell({ report: detector.report() });
  },
  Number(windowMs) / SNAPSHOTS_PER_WINDOW,
);
