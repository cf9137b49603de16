// speedscope as its npm package brings it, in Chromium: opens a profile and reads the table of its functions.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser } from 'playwright-core';
import { packagePath } from '../../platform/package-root.js';
import { makeScratchFolder } from './scratch.js';

const PAGE = packagePath('node_modules', 'speedscope', 'dist', 'release', 'index.html');

export interface SpeedscopeRow {
  readonly functionName: string;
  /** Of all that the profile counts, 0 to 1. */
  readonly totalShare: number;
}

/** Of the functions of a profile, the ones with most of their own first. */
export async function speedscopeRows(browser: Browser, profile: Buffer): Promise<SpeedscopeRow[]> {
  // A page from a file may load nothing but scripts: this is how its own command line hands a profile over.
  const script = join(await makeScratchFolder('speedscope'), 'profile.js');
  const data = JSON.stringify(profile.toString('base64'));
  await writeFile(script, `speedscope.loadFileFromBase64('profile.pb.gz', ${data})`);
  const page = await browser.newPage();
  try {
    await page.goto(`${pathToFileURL(PAGE).href}#view=sandwich&localProfilePath=${script}`);
    const symbols = page.getByText('Symbol Name');
    await symbols.waitFor();
    const rows = await page.locator('tr').filter({ hasNot: symbols }).allInnerTexts();
    return rows.flatMap((row) => {
      const [, share, functionName] = /\([<>]?([\d.]+)%\)[^)]*\)\s*(.*)$/s.exec(row) ?? [];
      return functionName === undefined ? [] : [{ functionName, totalShare: Number(share) / 100 }];
    });
  } finally {
    await page.close();
  }
}
