// When evidence is saved: once per time that a condition holds, within the budget, into private files within the quota.
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { beforeEach, describe, expect, it } from 'vitest';
import { Busy } from '../../../diagnostics/agent/heavy-gate.js';
import { Collector } from '../../../diagnostics/collection/collector.js';
import type { CollectorOptions, Observation } from '../../../diagnostics/collection/collector.js';
import { parseRules } from '../../../diagnostics/collection/rules.js';
import { makeScratchFolder } from '../../harness/scratch.js';
import { waitFor } from '../../harness/wait-for.js';
import { makeProgram, runProgram, startProgram } from '../agent/program.js';

const QUIET: Omit<Observation, 'at'> = { isLeaking: false, heapUsed: 50 * 2 ** 20, delayMs: 1 };

describe('the collector', () => {
  let folder: string;
  let news: string[];
  beforeEach(async () => {
    folder = join(await makeScratchFolder('collected'), 'files');
    news = [];
  });

  function collector(rules: string, more: Partial<CollectorOptions> = {}): Collector {
    return new Collector({
      rules: parseRules(rules),
      folder,
      name: 'app',
      actionsPerHourMax: 6,
      take: (action) => Promise.resolve(`evidence of ${action}`),
      tell: (text) => news.push(text),
      ...more,
    });
  }

  it('saves what a rule names, in files that are private, and says which', async () => {
    const watching = collector('leaking: leaks, async');
    await watching.observe({ ...QUIET, at: 0 });
    expect(news).toEqual([]);
    await watching.observe({ ...QUIET, at: 2_000, isLeaking: true });
    const files = (await readdir(folder)).toSorted();
    expect(files).toEqual([
      expect.stringMatching(/^app-.*-1\.leaks\.txt$/),
      expect.stringMatching(/^app-.*-2\.async\.pb\.gz$/),
    ]);
    for (const file of files) expect((await stat(join(folder, file))).mode & 0o777).toBe(0o600);
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    expect(await readFile(join(folder, files[0] ?? ''), 'utf8')).toBe('evidence of leaks');
    expect(news).toEqual([expect.stringContaining('"leaking: leaks, async" holds; saved '), expect.anything()]);
  });

  it('waits until the condition has held, acts once, and again only after it ended', async () => {
    const watching = collector('delay>100ms for 10s: stack');
    const look = (at: number, delayMs: number): Promise<void> => watching.observe({ ...QUIET, at, delayMs });
    for (const at of [0, 4_000, 8_000]) await look(at, 150);
    await look(9_000, 100);
    for (const at of [10_000, 14_000, 19_000]) await look(at, 150);
    expect(news).toEqual([]);
    for (const at of [20_000, 22_000, 40_000]) await look(at, 150);
    expect(news).toHaveLength(1);
    await look(41_000, 5);
    for (const at of [42_000, 52_000]) await look(at, 150);
    expect(news).toHaveLength(2);
  });

  it('does no more within an hour than it may, and says what it left out', async () => {
    const watching = collector('heap>1MiB: heap, leaks, async', { actionsPerHourMax: 2 });
    await watching.observe({ ...QUIET, at: 0 });
    expect(await readdir(folder)).toHaveLength(2);
    expect(news[0]).toMatch(/async is left out: 2 actions within the last hour/);
    await watching.observe({ ...QUIET, at: 1_000, heapUsed: 0 });
    await watching.observe({ ...QUIET, at: 3_600_001 });
    expect(await readdir(folder)).toHaveLength(4);
  });

  it('deletes the oldest beyond its quota, and nothing that is not its own', async () => {
    const watching = collector('heap>1MiB: heap, leaks, async', { folderBytesMax: 40 });
    await watching.observe({ ...QUIET, at: 0 });
    expect((await readdir(folder)).map((name) => name.replace(/^app-[^.]*/, ''))).toEqual(
      expect.arrayContaining(['.leaks.txt', '.async.pb.gz']),
    );
    expect(await readdir(folder)).toHaveLength(2);
  });

  it('shows a file when all of it is there', async () => {
    const body = new Readable({ read: () => undefined });
    body.push('one half, ');
    const watching = collector('heap>1MiB: snapshot', { take: () => Promise.resolve(body) });
    const observed = watching.observe({ ...QUIET, at: 0 });
    await waitFor(async () => (await readdir(folder).catch(() => [])).length === 1, { what: 'the file is begun' });
    expect(await readdir(folder)).toEqual([expect.stringMatching(/\.part$/)]);
    body.push('and the other');
    body.push(null);
    await observed;
    const [file = ''] = await readdir(folder);
    expect(file).toMatch(/\.heapsnapshot$/);
    expect(await readFile(join(folder, file), 'utf8')).toBe('one half, and the other');
  });

  it('waits for its turn while another heavy operation runs, and gives up in the end', async () => {
    const busy = new Busy('a trace', 0.001);
    let asked = 0;
    const take: CollectorOptions['take'] = (action) =>
      ++asked < 3 || action === 'heap' ? Promise.reject(busy) : Promise.resolve('evidence');
    await collector('heap>1MiB: profile, heap', { take }).observe({ ...QUIET, at: 0 });
    expect(await readdir(folder)).toEqual([expect.stringMatching(/\.cpu\.pb\.gz$/)]);
    expect(news).toEqual([
      expect.stringContaining('saved'),
      expect.stringContaining('heap failed: a trace is running'),
    ]);
  });

  it('goes on after an action that failed, and leaves no file of it', async () => {
    const take: CollectorOptions['take'] = (action) =>
      action === 'profile' ? Promise.reject(new Error('busy')) : Promise.resolve('');
    await collector('heap>1MiB: profile, stack', { take }).observe({ ...QUIET, at: 0 });
    expect(await readdir(folder)).toHaveLength(1);
    expect(news[0]).toContain('profile failed: busy');
  });
});

it('a program with the preload finds its evidence below its folder, also of a blocked loop', async () => {
  const source = `setTimeout(() => { for (const end = Date.now() + 6000; Date.now() < end;); }, 2500);
setInterval(() => {}, 1000);
`;
  const program = await startProgram(source, { STAMPEDE_DEBUG_COLLECT: 'heap>1MiB: leaks; delay>500ms: stack' });
  const folder = join(program.folder, '.stampede', 'collected');
  const stack = await waitFor(async () => (await readdir(folder)).find((name) => name.endsWith('.stack.txt')), {
    what: 'the evidence of the blocked loop',
    timeoutMs: 40_000,
  });
  expect(await readFile(join(folder, stack), 'utf8')).toMatch(/^blocked: [^]*app\.mjs:1:/);
  expect((await readdir(folder)).some((name) => name.endsWith('.leaks.txt'))).toBe(true);
});

it('a program whose rules cannot be read is told so, and runs on with its agent', async () => {
  const folder = await makeProgram(`setTimeout(() => {}, 200);`);
  const { stderr } = await runProgram(folder, { STAMPEDE_DEBUG_COLLECT: 'heap: everything' });
  expect(stderr).toContain('StampedeDiagnostics: STAMPEDE_DEBUG_COLLECT: RangeError: "heap: everything" is no rule');
});
