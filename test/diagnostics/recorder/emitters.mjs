// A plain program whose emitters gather listeners as programs do, for emitters.test.ts. Writes what the recorder saw as JSON.
import { EventEmitter } from 'node:events';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { startRecorder } from '../../../dist/diagnostics/recorder/recorder.js';

const COUNT = 20;
const { on, setMaxListeners } = EventEmitter.prototype;
const recorder = startRecorder();

class Bus extends EventEmitter {
  addListener(event, listener) {
    return this.on(event, listener);
  }

  on(event, listener) {
    return event === 'refused' && this.listenerCount(event) >= 10 ? this : super.on(event, listener);
  }
}
const bus = new Bus().setMaxListeners(0);
for (let i = 0; i < COUNT; i++) bus.addListener('twice', () => {});
for (let i = 0; i < COUNT; i++) bus.on('refused', () => {});

process.removeAllListeners('warning');
while (process.listenerCount('warning') === 0) await sleep(1);
const warned = new EventEmitter();
for (let i = 0; i < COUNT; i++) {
  warned.on('warned', () => {});
  await turn();
}
const isFree = EventEmitter.prototype.on === on;

const forbidden = new EventEmitter();
EventEmitter.defaultMaxListeners = 0;
while (EventEmitter.prototype.on === on) await sleep(1);
for (let i = 0; i < COUNT; i++) forbidden.on('forbidden', () => {});

const { sites } = recorder.snapshot();
recorder.stop();
const { prototype } = EventEmitter;
const isRestored = prototype.on === on && prototype.setMaxListeners === setMaxListeners && !Object.hasOwn(warned, 'on');
process.stdout.write(JSON.stringify({ sites, isFree, isRestored }));
