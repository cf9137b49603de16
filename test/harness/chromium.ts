// A real browser for tests of pages: the machine's Chromium, driven by playwright-core. Where there is none it is installed
// once, by the product's own code for Debian packages.
import { chromium } from 'playwright-core';
import type { Browser } from 'playwright-core';
import { thisMachine } from '../../platform/embedded/executables.js';
import { provideProgram } from '../../platform/embedded/provide-program.js';

const PACKAGE = 'chromium';
const PROGRAMS = ['chromium', 'chromium-browser', 'google-chrome'];
/** A test that may have to install it: 100 MB to fetch. */
export const BROWSER_TEST_TIMEOUT_MS = 600_000;

/** Headless; the caller closes it. */
export async function launchChromium(): Promise<Browser> {
  const machine = thisMachine();
  const report = (step: string): void => console.log(step);
  const executablePath = await provideProgram({ names: PROGRAMS, debianPackage: PACKAGE, machine, report });
  // Chromium refuses to run as root with its sandbox; it sees nothing here but the test's own pages.
  const args = machine.isRoot ? ['--no-sandbox'] : [];
  return chromium.launch({ executablePath, args });
}
