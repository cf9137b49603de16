import { Worker } from 'node:worker_threads';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { cpuMicrosOf, machineTime, RESOLUTION_MICROS, threadMicrosOf } from '../../bench/cpu.js';

it('counts the CPU time of a process with all its threads, as the process itself does', async () => {
  const before = { kernel: cpuMicrosOf(process.pid), own: process.cpuUsage() };
  // Work of a fixed amount of CPU time, in another thread: its speed does not matter.
  const source = `
    const spent = () => { const { user, system } = process.cpuUsage(); return user + system; };
    const start = spent();
    while (spent() - start < 300_000);`;
  await once(new Worker(source, { eval: true }), 'exit');
  const counted = cpuMicrosOf(process.pid) - before.kernel;
  const { user, system } = process.cpuUsage(before.own);
  expect(counted).toBeGreaterThanOrEqual(300_000 - 2 * RESOLUTION_MICROS);
  // utime and stime are each cut to a tick, in both readings.
  expect(Math.abs(counted - (user + system))).toBeLessThanOrEqual(4 * RESOLUTION_MICROS);
});

it('counts the thread that runs the program apart from the others', async () => {
  const source = `
    const { parentPort } = require('node:worker_threads');
    const spent = () => { const { user, system } = process.cpuUsage(); return user + system; };
    const start = spent();
    while (spent() - start < 300_000);
    parentPort.once('message', () => parentPort.close());
    parentPort.postMessage('spent');`;
  const before = threadMicrosOf(process.pid);
  const thread = new Worker(source, { eval: true });
  await once(thread, 'message');
  const after = threadMicrosOf(process.pid);
  thread.postMessage('end');
  await once(thread, 'exit');
  const main = after.main - before.main;
  const all = after.all - before.all;
  expect(main).toBeGreaterThanOrEqual(0);
  // What the main thread did meanwhile is in the 300 ms, too.
  expect(all).toBeGreaterThanOrEqual(300_000 - 2 * RESOLUTION_MICROS);
  expect(all - main).toBeGreaterThan(main);
});

it('refuses to count a process that has ended', () => {
  // Above the largest process id that Linux hands out.
  expect(() => cpuMicrosOf(2 ** 23)).toThrow('ENOENT');
  expect(() => threadMicrosOf(2 ** 23)).toThrow('ENOENT');
});

it('counts the busy part of the machine', () => {
  const { total, busy } = machineTime();
  expect(busy).toBeGreaterThan(0);
  expect(busy).toBeLessThan(total);
});
