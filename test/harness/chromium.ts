// A real browser for tests of pages: the machine's Chromium, driven by playwright-core. Where there is none it is installed
// once, by the product's own code for Debian packages.
import { chromium } from 'playwright-core';
import type { Browser } from 'playwright-core';
import { installCommand, installPackages } from '../../platform/embedded/debian-packages.js';
import { findFile, thisMachine } from '../../platform/embedded/executables.js';

const PACKAGE = 'chromium';
const PROGRAMS = ['chromium', 'chromium-browser', 'google-chrome'];
/** A test that may have to install it: 100 MB to fetch. */
export const BROWSER_TEST_TIMEOUT_MS = 600_000;

/** Headless; the caller closes it. */
export async function launchChromium(): Promise<Browser> {
  const executablePath = (await findChromium()) ?? (await installChromium());
  // Chromium refuses to run as root with its sandbox; it sees nothing here but the test's own pages.
  const args = thisMachine().isRoot ? ['--no-sandbox'] : [];
  return chromium.launch({ executablePath, args });
}

async function findChromium(): Promise<string | undefined> {
  for (const program of PROGRAMS) {
    const found = await findFile(program, thisMachine());
    if (found !== undefined) return found;
  }
  return undefined;
}

async function installChromium(): Promise<string> {
  const machine = thisMachine();
  const aptGet = machine.isRoot ? await findFile('apt-get', machine) : undefined;
  const report = (step: string): void => console.log(step);
  const failure = aptGet === undefined ? 'not root on Debian' : await installPackages(aptGet, [PACKAGE], report);
  const installed = await findChromium();
  if (installed === undefined) {
    throw new Error(
      `no Chromium for the test (${failure ?? 'installed, but not found'}): ${installCommand([PACKAGE])}`,
    );
  }
  return installed;
}
