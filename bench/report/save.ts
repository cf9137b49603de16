// Writes a run into a folder: the page, the pictures and the raw data; and into the README what that shows. The raw data are
// the one source: page, pictures and README follow from them, so all can be written again from a saved run.
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { format, resolveConfig } from 'prettier';
import { packagePath } from '../../platform/package-root.js';
import type { BenchRun } from '../run.js';
import { soundResultOf } from '../run.js';
import { pageOf, RAW_FILE, readmeWith } from './page.js';
import { svgOf } from './picture.js';
import { summaryOf } from './repeat.js';

/** Where what everybody sees is: a folder of results, and the README that shows them. */
export interface Publication {
  readonly folder: string;
  readonly readme: string;
}
const README = packagePath('README.md');
export const PUBLISHED: Publication = { folder: packagePath('bench', 'results'), readme: README };
const PAGE = 'README.md';

/** A sentence, where a run is not to be seen by everybody: a part of it has no result. */
export function whyNotPublish({ parts }: Pick<BenchRun, 'parts'>): string | undefined {
  const failed = parts.filter(({ problems }) => problems.length > 0).map(({ name }) => name);
  return failed.length === 0
    ? undefined
    : `README and bench/results/ stay as they are, since a part has no result: ${failed.join(', ')}`;
}

/** Rejects, and leaves everything as it was, where `whyNotPublish` says so. */
export async function publishRun(run: BenchRun, { folder, readme }: Publication = PUBLISHED): Promise<void> {
  const refusal = whyNotPublish(run);
  if (refusal !== undefined) throw new Error(refusal);
  await saveRun(run, folder);
  await writeFile(readme, await formattedReadme(await readFile(readme, 'utf8'), run));
}

/**
 * Whatever an earlier run left in the folder is replaced. Rejects when two pictures have one name: one would replace the
 * other. The raw data are saved even so, since nothing else keeps what took so long to measure.
 */
export async function saveRun(run: BenchRun, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, RAW_FILE), await promisify(gzip)(JSON.stringify(run)));
  const pictures = run.parts.flatMap((part) => soundResultOf(part)?.pictures ?? []);
  const names = pictures.map(({ name }) => name);
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  if (repeated !== undefined) throw new Error(`two pictures are named ${repeated}: only the raw data were saved`);
  const old = (await readdir(folder)).filter((name) => name.endsWith('.svg'));
  await Promise.all(old.map((name) => rm(join(folder, name))));
  await writeFile(join(folder, PAGE), await formattedPage(run));
  for (const picture of pictures) await writeFile(join(folder, `${picture.name}.svg`), svgOf(picture));
}

/** Rejects when none was saved there. */
export async function loadRun(folder: string): Promise<BenchRun> {
  const packed = await readFile(join(folder, RAW_FILE));
  return JSON.parse((await promisify(gunzip)(packed)).toString('utf8')) as BenchRun;
}

/** The run with what another one, saved in this folder, said before it; as it is where there is none of its scale that can be read. */
export async function besideBefore(run: BenchRun, folder: string): Promise<BenchRun> {
  const before = await loadRun(folder).catch(() => undefined);
  return before?.scale === run.scale ? { ...run, before: summaryOf(before) } : run;
}

export async function formattedPage(run: BenchRun): Promise<string> {
  return await formatted(pageOf(run));
}

export async function formattedReadme(readme: string, run: BenchRun): Promise<string> {
  return await formatted(readmeWith(readme, run));
}

/** As `npm run format` would, which is checked. */
async function formatted(markdown: string): Promise<string> {
  return await format(markdown, { ...(await resolveConfig(README)), parser: 'markdown' });
}
