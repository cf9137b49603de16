// Reading heap snapshots outside the process they are of: what fills it, what grew, and what holds that.
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { classHistogram, heapGrowth } from '../../../diagnostics/heap/growth.js';
import { readHeapSnapshot } from '../../../diagnostics/heap/snapshot-file.js';
import type { HeapGraph } from '../../../diagnostics/heap/snapshot-file.js';
import { makeScratchFolder } from '../../harness/scratch.js';

const WAITERS = 700;
/** Takes two snapshots and keeps waiters in a map meanwhile; a few of them elsewhere. */
const PROGRAM = `import { writeHeapSnapshot } from 'node:v8';
import { setTimeout } from 'node:timers/promises';
class Waiter { answer = new Promise(() => {}); }
globalThis.waiting = new Map();
globalThis.few = [];
writeHeapSnapshot('before.heapsnapshot');
for (let i = 0; i < ${WAITERS}; i++) waiting.set('question ' + i, new Waiter());
for (let i = 0; i < 5; i++) few.push(new Waiter());
await setTimeout(1);
writeHeapSnapshot('after.heapsnapshot');
`;

let folder: string;
let before: HeapGraph;
let after: HeapGraph;
beforeAll(async () => {
  folder = await makeScratchFolder('heap');
  await writeFile(join(folder, 'app.mjs'), PROGRAM);
  await promisify(execFile)(process.execPath, ['app.mjs'], { cwd: folder });
  before = await readHeapSnapshot(join(folder, 'before.heapsnapshot'));
  after = await readHeapSnapshot(join(folder, 'after.heapsnapshot'));
});

test('the histogram counts every object once', () => {
  const classes = classHistogram(after);
  expect(classes.find(({ name }) => name === 'Waiter')?.count).toBe(WAITERS + 5);
  expect(classHistogram(before).some(({ name }) => name === 'Waiter')).toBe(false);
  expect(classes.reduce((sum, { count }) => sum + count, 0)).toBe(after.nodeCount);
  const bytes = classes.reduce((sum, each) => sum + each.bytes, 0);
  expect(bytes).toBe(after.selfSizes.reduce((sum, size) => sum + size, 0));
});

test('growth is named by class, with the path that holds most of it', () => {
  const growth = heapGrowth(before, after);
  const waiters = growth.find(({ name }) => name === 'Waiter');
  expect(waiters).toMatchObject({ count: WAITERS + 5, now: WAITERS + 5, path: { count: WAITERS } });
  expect(waiters?.path?.text).toMatch(/\.waiting › Map\(table\) › \(array\)\[\] › Waiter$/);
  expect(growth.find(({ name }) => name === 'Promise')?.path?.text).toMatch(/Waiter\.answer › Promise$/);
  expect(growth.slice(0, 5).map(({ name }) => name)).toEqual(expect.arrayContaining(['Waiter', 'Promise', '(string)']));
  expect(heapGrowth(after, after)).toEqual([]);
});

describe('a file that was cut off', () => {
  test.each([0.001, 0.3, 0.7, 0.999])('at %d of its length is refused', async (share) => {
    const whole = await readFile(join(folder, 'after.heapsnapshot'));
    const file = join(folder, `cut-${share}.heapsnapshot`);
    await writeFile(file, whole.subarray(0, Math.floor(whole.length * share)));
    await expect(readHeapSnapshot(file)).rejects.toThrow('is no complete heap snapshot');
  });
});
