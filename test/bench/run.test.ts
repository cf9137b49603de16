// Parts are run, their targets judged, and what they found is shown and saved, whatever one of them does.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { describeMachine } from '../../bench/machine.js';
import type { Finding, Part, PartResult } from '../../bench/part.js';
import { PARTS } from '../../bench/parts.js';
import { describeRun } from '../../bench/report/terminal.js';
import { svgOf } from '../../bench/report/picture.js';
import { formattedPage, formattedReadme, loadRun, RESULTS_FOLDER, saveRun } from '../../bench/report/save.js';
import { verdictsOf } from '../../bench/report/verdicts.js';
import type { BenchRun, PartRun } from '../../bench/run.js';
import { runParts } from '../../bench/run.js';
import { spreadOf } from '../../bench/statistics.js';
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

function part(name: string, measure: Part['measure']): Part {
  return { name, description: '', minutes: 4, measure };
}

function found(...findings: Finding[]): Part['measure'] {
  return () => Promise.resolve({ ...RESULT, findings });
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
      part('throws', () => Promise.reject(new Error('no answer'))),
      part('doubtful', async () => {
        const result = await found({ target: 'cpuAgainstFloor', value: spreadOf([1]) })({} as never);
        return { ...result, problems: ['the audit failed'] };
      }),
      part('sound', (context) => {
        context.report('measuring');
        return found({ target: 'soldOutRedisCpu', value: spreadOf([1, 2, 30]) })(context);
      }),
    ],
    (step) => steps.push(step),
  );
  expect(parts.map(({ name, problems }) => [name, problems])).toEqual([
    ['throws', ['no answer']],
    ['doubtful', ['the audit failed']],
    ['sound', []],
  ]);
  expect(steps).toEqual(['[3 of 3, about 4 min left] sound: measuring']);
  const verdicts = new Map(verdictsOf({ parts }).map((verdict) => [verdict.name, verdict]));
  expect(verdicts.get('cpuAgainstFloor')).toMatchObject({ verdict: 'not measured', bound: '≤ 1.15 ×' });
  expect(verdicts.get('soldOutRedisCpu')).toMatchObject({ verdict: 'met', bound: '≤ 2 µs' });
  const text = describeRun(await runOf(parts));
  expect(text).toContain('PROBLEM: throws has no result: no answer');
  expect(text).toContain('PROBLEM: doubtful has no result: the audit failed');
  expect(text).toContain('2.0 (1.0–3.0)');
});

it('judges the median, on either side', async () => {
  const parts = await run([
    part('one', found({ target: 'throughputAgainstUsual', value: spreadOf([3.4, 9, 3]) })),
    part(
      'two',
      found({ target: 'cpuAgainstFloor', value: spreadOf([1.15]) }, { target: 'burstErrors', value: spreadOf([1]) }),
    ),
  ]);
  const verdicts = new Map(verdictsOf({ parts }).map(({ name, verdict }) => [name, verdict]));
  expect(verdicts.get('throughputAgainstUsual')).toBe('missed');
  expect(verdicts.get('cpuAgainstFloor')).toBe('met');
  expect(verdicts.get('burstErrors')).toBe('missed');
});

it('saves page, pictures and raw data, from which all of it follows again', async () => {
  const folder = await makeScratchFolder('results');
  const value = spreadOf([1, 2, 3]);
  const saved = await runOf(await run([part('sound', found({ target: 'throughputAgainstUsual', value }))]));
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

  const around = (block: string): string =>
    `# Top\n\n<!-- benchmark: written by \`npm run bench -- --save\` -->\n\n${block}\n\n<!-- end of benchmark -->\n\n## Next\n`;
  const readme = await formattedReadme(around('Of an earlier run.'), saved);
  expect(readme).toContain('![CPU per claim](bench/results/cpu-per-claim.svg)');
  expect(readme).not.toContain('growth');
  expect(readme).not.toContain('earlier');
  expect(await formattedReadme(readme, saved)).toBe(readme);
  await expect(formattedReadme('# Top\n', saved)).rejects.toThrow('the README has no');

  await saveRun({ ...saved, parts: [] }, folder);
  expect((await readdir(folder)).sort()).toEqual(['README.md', 'run.json.gz']);
});

it('shows in README and bench/results/ what was saved last', async () => {
  const saved = await loadRun(RESULTS_FOLDER);
  expect(saved.scale).toBe('full');
  expect(await readFile(join(RESULTS_FOLDER, 'README.md'), 'utf8')).toBe(await formattedPage(saved));
  const readme = await readFile(packagePath('README.md'), 'utf8');
  expect(await formattedReadme(readme, saved)).toBe(readme);
  const pictures = saved.parts.flatMap(({ result }) => result?.pictures ?? []);
  for (const picture of pictures) {
    expect(await readFile(join(RESULTS_FOLDER, `${picture.name}.svg`), 'utf8')).toBe(svgOf(picture));
  }
});

it('has parts with names of their own, each explained in bench/README.md', async () => {
  const readme = await readFile(packagePath('bench', 'README.md'), 'utf8');
  const explained = [...readme.matchAll(/^\| ([a-z][a-z-]*) +\|/gm)].map(([, name]) => name);
  expect(explained.filter((name) => name !== 'part')).toEqual(PARTS.map(({ name }) => name));
});
