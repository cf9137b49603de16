// Prints how many times as dear a tick is after full collections that found none waiting as before them; with `thread`, in
// a thread. Run with --expose-gc.
import { setTimeout as delay } from 'node:timers/promises';
import { isMainThread, Worker } from 'node:worker_threads';

const TICKS = 100_000;
/** Of one turn of the event loop. */
const AT_ONCE = 1_000;
const ATTEMPTS = 8;

/** The least CPU time of several attempts: what a compiler or a busy machine adds is not asked for. */
async function price() {
  let least = Infinity;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const before = process.cpuUsage();
    for (let made = 0; made < TICKS; made += AT_ONCE) {
      for (let i = 0; i < AT_ONCE; i++) process.nextTick(() => undefined);
      await delay(0);
    }
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, user + system);
  }
  return least;
}

async function measure() {
  const young = await price();
  for (let collection = 0; collection < 5; collection++) {
    await delay(1);
    globalThis.gc();
  }
  console.log((await price()) / young);
}

if (isMainThread && process.argv[2] === 'thread') new Worker(new URL(import.meta.url));
else await measure();
