// Writes a run into a folder: the page, the pictures and the raw data; and into the README what that shows. The raw data are
// the one source: page, pictures and README follow from them, so all can be written again from a saved run.
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { format, resolveConfig } from 'prettier';
import { packagePath } from '../../platform/package-root.js';
import type { BenchRun } from '../run.js';
import { pageOf, RAW_FILE, readmeWith } from './page.js';
import { svgOf } from './picture.js';

export const RESULTS_FOLDER = packagePath('bench', 'results');
const README = packagePath('README.md');
const PAGE = 'README.md';

/** Whatever an earlier run left in the folder is replaced. */
export async function saveRun(run: BenchRun, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const old = (await readdir(folder)).filter((name) => name.endsWith('.svg'));
  await Promise.all(old.map((name) => rm(join(folder, name))));
  await writeFile(join(folder, RAW_FILE), await promisify(gzip)(JSON.stringify(run)));
  await writeFile(join(folder, PAGE), await formattedPage(run));
  const pictures = run.parts.flatMap(({ result }) => result?.pictures ?? []);
  for (const picture of pictures) await writeFile(join(folder, `${picture.name}.svg`), svgOf(picture));
}

/** Rejects when none was saved there. */
export async function loadRun(folder: string): Promise<BenchRun> {
  const packed = await readFile(join(folder, RAW_FILE));
  return JSON.parse((await promisify(gunzip)(packed)).toString('utf8')) as BenchRun;
}

export async function saveToReadme(run: BenchRun): Promise<void> {
  await writeFile(README, await formattedReadme(await readFile(README, 'utf8'), run));
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
