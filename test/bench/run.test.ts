// Parts are run, their targets judged, and what they found is shown and saved, whatever one of them does.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { describeMachine } from '../../bench/machine.js';
import type { Finding, Part, PartResult } from '../../bench/part.js';
import { PARTS } from '../../bench/parts.js';
import { differencesOf, summaryOf } from '../../bench/report/repeat.js';
import { describeRun } from '../../bench/report/terminal.js';
import { svgOf } from '../../bench/report/picture.js';
import {
  besideBefore,
  formattedPage,
  formattedReadme,
  loadRun,
  PUBLISHED,
  publishRun,
  saveRun,
  whyNotPublish,
} from '../../bench/report/save.js';
import { verdictsOf } from '../../bench/report/verdicts.js';
import type { BenchRun, PartRun } from '../../bench/run.js';
import { runParts } from '../../bench/run.js';
import { spreadOf } from '../../bench/statistics.js';
import type { Target } from '../../bench/targets.js';
import { TARGETS } from '../../bench/targets.js';
import { createLog } from '../../platform/log.js';
import { packagePath } from '../../platform/package-root.js';
import { makeScratchFolder } from '../harness/scratch.js';

const RESULT: PartResult = {
  tables: [
    {
      title: 'Costs',
      columns: ['one', 'two', 'three'],
      rows: [{ title: 'µs of CPU', digits: 1, cells: [spreadOf([3, 1, 2]), 'a|b', undefined] }],
      notes: ['A note.'],
    },
  ],
  pictures: [
    {
      name: 'cpu-per-claim',
      title: 'CPU per claim',
      kind: 'bars',
      x: { title: 'design' },
      y: { title: 'µs' },
      points: [
        { series: 'server', x: 'ours', y: spreadOf([1, 2, 4]) },
        { series: 'server', x: 'theirs', y: spreadOf([3]) },
      ],
    },
    {
      name: 'growth',
      title: 'Growth',
      kind: 'lines',
      x: { title: 'users', logarithmic: true },
      y: { title: 'µs' },
      points: [
        { series: 'server', x: 10, y: spreadOf([1, 2]) },
        { series: 'server', x: 1_000, y: spreadOf([2]) },
      ],
    },
  ],
  findings: [],
  problems: [],
  raw: { rounds: [1, 2, 3] },
};

const README =
  '# Top\n\n<!-- benchmark: written by `npm run bench -- --save` -->\n\nOf an earlier run.\n\n<!-- end of benchmark -->\n\n## Next\n';

function part(name: string, measure: Part['measure']): Part {
  return { name, description: '', minutes: 4, measure };
}

function found(...findings: Finding[]): Part['measure'] {
  return () => Promise.resolve({ ...RESULT, findings });
}

function doubtful(...findings: Finding[]): Part['measure'] {
  return () => Promise.resolve({ ...RESULT, findings, problems: ['the audit failed'] });
}

async function run(parts: readonly Part[], report: (step: string) => void = () => undefined): Promise<PartRun[]> {
  const { signal } = new AbortController();
  const sizes = { scale: 'full' as const, rounds: 1, requests: 1, connections: 1, workers: 1, execArgv: [] };
  return await runParts(parts, { ...sizes, report, log: createLog('bench', 'silent'), signal });
}

async function runOf(parts: readonly PartRun[]): Promise<BenchRun> {
  const common = { startedAt: '2026-11-24T10:00:00.000Z', durationMs: 1, scale: 'full' as const, rounds: 3 };
  return { ...common, machine: await describeMachine(), loadAverage: [0.5, 1], parts };
}

it('goes on after a part that throws or has a problem, and counts nothing of it', async () => {
  const steps: string[] = [];
  const parts = await run(
    [
      part('switches', () => Promise.reject(new Error('no answer'))),
      part('generator', doubtful({ target: 'cpuAgainstFloor', value: spreadOf([1]) })),
      part('memory', (context) => {
        context.report('measuring');
        return found({ target: 'memoryPerUser', value: spreadOf([1, 2, 300]) })(context);
      }),
    ],
    (step) => steps.push(step),
  );
  expect(parts.map(({ name, problems }) => [name, problems])).toEqual([
    ['switches', ['no answer']],
    ['generator', ['the audit failed']],
    ['memory', []],
  ]);
  expect(steps).toEqual(['[3 of 3, about 4 min left] memory: measuring']);
  const verdicts = new Map(verdictsOf({ parts }).map((verdict) => [verdict.name, verdict]));
  expect(verdicts.get('cpuBareAgainstFloor')).toMatchObject({ verdict: 'no result', value: undefined });
  expect(verdicts.get('cpuAgainstFloor')).toMatchObject({ verdict: 'no result', bound: '≤ 1.15 ×', value: undefined });
  expect(verdicts.get('memoryPerUser')).toMatchObject({ verdict: 'met', bound: '≤ 100 bytes' });
  expect(verdicts.get('burstErrors')).toMatchObject({ verdict: 'not measured' });
  const text = describeRun(await runOf(parts));
  expect(text).toContain('PROBLEM: switches has no result: no answer');
  expect(text).toContain('PROBLEM: generator has no result: the audit failed');
  expect(text).toContain('2.0 (1.0–3.0)');
});

it('shows no figure and no picture of a part with a problem, and publishes nothing of such a run', async () => {
  const finding = { target: 'cpuAgainstFloor' as const, value: spreadOf([1]) };
  const failed = await runOf(await run([part('generator', doubtful(finding))]));
  const folder = await makeScratchFolder('results');
  await saveRun(failed, folder);
  expect((await readdir(folder)).sort()).toEqual(['README.md', 'run.json.gz']);
  const shown = [await formattedPage(failed), await formattedReadme(README, failed), describeRun(failed)];
  for (const text of shown) {
    expect(text).toContain('no result');
    expect(text).not.toContain('µs of CPU');
    expect(text).not.toContain('.svg');
  }
  expect(shown[0]).toContain('generator has no result: the audit failed');

  const published = { folder: await makeScratchFolder('published'), readme: join(folder, 'readme.md') };
  await writeFile(published.readme, README);
  const refusal = 'README and bench/results/ stay as they are, since a part has no result: generator';
  expect(whyNotPublish(failed)).toBe(refusal);
  await expect(publishRun(failed, published)).rejects.toThrow(refusal);
  expect(await readdir(published.folder)).toEqual([]);
  expect(await readFile(published.readme, 'utf8')).toBe(README);

  const sound = await runOf(await run([part('generator', found(finding))]));
  await publishRun(sound, published);
  expect(await readdir(published.folder)).toHaveLength(4);
  expect(await readFile(published.readme, 'utf8')).toBe(await formattedReadme(README, sound));
});

it('takes what is no number for a problem, and never for a target that is met', async () => {
  const value = { median: NaN, min: 1, max: 1 };
  const parts = await run([part('generator', found({ target: 'cpuAgainstFloor', value }))]);
  expect(parts[0]?.problems).toEqual([
    'what it found for cpuAgainstFloor is no number: {"median":null,"min":1,"max":1}',
  ]);
  // As a run was saved that did not look.
  const unseen = JSON.parse(JSON.stringify(parts.map((one) => ({ ...one, problems: [] })))) as PartRun[];
  const verdict = verdictsOf({ parts: unseen }).find(({ name }) => name === 'cpuAgainstFloor');
  expect(verdict).toMatchObject({ verdict: 'no result', value: undefined });
});

it('refuses to save two pictures of one name, but keeps the raw data', async () => {
  const folder = await makeScratchFolder('results');
  const twice = await runOf(await run([part('one', found()), part('two', found())]));
  await expect(saveRun(twice, folder)).rejects.toThrow('two pictures are named cpu-per-claim');
  expect(await readdir(folder)).toEqual(['run.json.gz']);
  expect(await loadRun(folder)).toMatchObject({ parts: [{ name: 'one' }, { name: 'two' }] });
});

it('says in which parts others used too much of the machine', async () => {
  const [sound] = await run([part('generator', found())]);
  if (sound === undefined) throw new Error('a part was run');
  const parts = [
    { ...sound, foreignCpuShare: 0.2 },
    { ...sound, name: 'burst', foreignCpuShare: 0.31, result: { ...RESULT, pictures: [] } },
  ];
  const sentence = 'Others used more than 20 % of the machine in burst (31 %): repeat that on a quieter one.';
  const noisy = await runOf(parts);
  for (const text of [await formattedPage(noisy), await formattedReadme(README, noisy), describeRun(noisy)]) {
    expect(text).toContain(sentence);
  }
  expect(describeRun(await runOf(parts.slice(0, 1)))).toContain('In no part others used more than 20 %');
});

it('judges the median, on either side, and says where a round judges otherwise', async () => {
  const parts = await run([
    part('peers', found({ target: 'throughputAgainstUsual', value: spreadOf([3.4, 9, 3]) })),
    part(
      'burst',
      found({ target: 'burstErrors', value: spreadOf([1]) }, { target: 'burstRows', value: spreadOf([5]) }),
    ),
  ]);
  const verdicts = new Map(verdictsOf({ parts }).map((one) => [one.name, one]));
  expect(verdicts.get('throughputAgainstUsual')).toMatchObject({ verdict: 'missed', close: true });
  expect(verdicts.get('burstRows')).toMatchObject({ verdict: 'met', close: false });
  expect(verdicts.get('burstErrors')).toMatchObject({ verdict: 'missed', close: false });
  const text = describeRun(await runOf(parts)).replaceAll(/[ │]+/g, ' ');
  expect(text).toContain('rows in MySQL included ≥ 3.5 × 3.40 × 3–9 missed, not in every round');
  expect(text).toContain('after the last answer ≤ 5 s 5 s met');
});

it('saves page, pictures and raw data, from which all of it follows again', async () => {
  const folder = await makeScratchFolder('results');
  const value = spreadOf([1, 2, 3]);
  const saved = await runOf(await run([part('peers', found({ target: 'throughputAgainstUsual', value }))]));
  await saveRun(saved, folder);
  expect((await readdir(folder)).sort()).toEqual(['README.md', 'cpu-per-claim.svg', 'growth.svg', 'run.json.gz']);

  const page = (await readFile(join(folder, 'README.md'), 'utf8')).replaceAll(/ +/g, ' ');
  expect(page).toContain('rows in MySQL included | ≥ 3.5 × | 2 × | 1–3 | missed |');
  expect(page).toContain('| µs of CPU | 2.0 (1.0–3.0) | a\\|b | |');
  // What is loaded shows the same, though JSON knows no undefined.
  expect(await formattedPage(await loadRun(folder))).toBe(await formattedPage(saved));
  expect(page).toContain('![Growth](growth.svg)');
  for (const name of ['cpu-per-claim.svg', 'growth.svg']) {
    const svg = await readFile(join(folder, name), 'utf8');
    expect(svg).toMatch(/^<svg [^]*>(CPU per claim|Growth)<\/text>[^]*<\/svg>$/);
    expect(svg).not.toContain('NaN');
  }

  const readme = await formattedReadme(README, saved);
  expect(readme).toContain('![CPU per claim](bench/results/cpu-per-claim.svg)');
  expect(readme).not.toContain('growth');
  expect(readme).not.toContain('earlier');
  expect(await formattedReadme(readme, saved)).toBe(readme);
  await expect(formattedReadme('# Top\n', saved)).rejects.toThrow('the README has no');

  await saveRun({ ...saved, parts: [] }, folder);
  expect((await readdir(folder)).sort()).toEqual(['README.md', 'run.json.gz']);
});

it('says which verdicts of two saved runs differ, and shows the one before beside the next', async () => {
  const saved = async (cpu: number, memory: number): Promise<string> => {
    const folder = await makeScratchFolder('results');
    const peers = found({ target: 'cpuAgainstFloor', value: spreadOf([cpu]) });
    const usage = found({ target: 'memoryPerUser', value: spreadOf([memory]) });
    const parts = await run([part('generator', peers), { ...part('memory', usage) }]);
    // Pictures have names of their own in a run.
    const [first, second] = parts;
    if (first === undefined || second === undefined) throw new Error('two parts were run');
    await saveRun(await runOf([first, { ...second, result: { ...RESULT, ...second.result, pictures: [] } }]), folder);
    return folder;
  };
  const [before, after] = [await saved(1.57, 104.5), await saved(1.1, 104.6)];
  const [one, other] = [await loadRun(after), await loadRun(before)];
  expect(differencesOf(one, summaryOf(one))).toEqual([]);
  expect(differencesOf(one, summaryOf(other))).toEqual([
    'server CPU per claim, everything on, against the empty route, both under wrk: met with 1.1 ×, and missed with 1.57 × in the other run',
  ]);

  const next = await besideBefore(one, before);
  const page = (await formattedPage(next)).replaceAll(/ +/g, ' ');
  expect(page).toContain('against the empty route, both under wrk | ≤ 1.15 × | 1.10 × | | met | 1.57 × | no |');
  expect(page).toContain('ids of 20 bytes | ≤ 100 bytes | 105 bytes | | missed | 105 bytes | yes |');
  expect(page).toContain('| not measured | | |');
  const sentence = `(2026-11-24 at commit ${other.machine.commit}) gave the same verdict on 1 of 2 targets`;
  for (const text of [page, await formattedReadme(README, next), describeRun(next)]) expect(text).toContain(sentence);
  expect(await besideBefore(one, await makeScratchFolder('results'))).toBe(one);
  expect(await besideBefore({ ...one, scale: 'short' }, before)).not.toHaveProperty('before');
});

it('shows in README and bench/results/ what was saved last', async () => {
  const saved = await loadRun(PUBLISHED.folder);
  expect(whyNotPublish(saved)).toBeUndefined();
  expect(saved.scale).toBe('full');
  expect(await readFile(join(PUBLISHED.folder, 'README.md'), 'utf8')).toBe(await formattedPage(saved));
  const readme = await readFile(packagePath('README.md'), 'utf8');
  expect(await formattedReadme(readme, saved)).toBe(readme);
  const pictures = saved.parts.flatMap(({ result }) => result?.pictures ?? []);
  for (const picture of pictures) {
    expect(await readFile(join(PUBLISHED.folder, `${picture.name}.svg`), 'utf8')).toBe(svgOf(picture));
  }
});

it('has parts with names of their own, each explained in bench/README.md', async () => {
  const readme = await readFile(packagePath('bench', 'README.md'), 'utf8');
  const explained = [...readme.matchAll(/^\| ([a-z][a-z-]*) +\|/gm)].map(([, name]) => name);
  expect(explained.filter((name) => name !== 'part')).toEqual(PARTS.map(({ name }) => name));
});

it('has a part for every target', () => {
  const names = PARTS.map(({ name }) => name);
  for (const { part: name } of Object.values<Target>(TARGETS)) expect(names).toContain(name);
});
