// The page of the APIs in a real browser: it shows operations, loads nothing from elsewhere, and its own policy stops nothing
// that it needs.
import { expect, test } from 'vitest';
import { atEndOfFile } from '../../harness/cleanup.js';
import { BROWSER_TEST_TIMEOUT_MS, launchChromium } from '../../harness/chromium.js';
import { ADMIN_TOKEN, startAdminApi } from './admin-api.js';

test(
  'a browser shows both APIs without a complaint',
  async () => {
    const { port } = await startAdminApi();
    const browser = await launchChromium();
    atEndOfFile(() => browser.close());
    const context = await browser.newContext({ httpCredentials: { username: 'operator', password: ADMIN_TOKEN } });
    const page = await context.newPage();
    const complaints: string[] = [];
    const elsewhere: string[] = [];
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('request', (request) => {
      const url = new URL(request.url());
      if (url.protocol !== 'data:' && url.host !== `127.0.0.1:${port}`) elsewhere.push(request.url());
    });
    await page.goto(`http://127.0.0.1:${port}/docs/`);
    await page.getByText('Create a coupon').waitFor();
    await page.getByRole('combobox').first().selectOption({ label: 'Public API' });
    await page.getByText('Claim one unit').waitFor();
    expect(await page.title()).toBe('Stampede APIs');
    expect(complaints).toEqual([]);
    expect(elsewhere).toEqual([]);
  },
  BROWSER_TEST_TIMEOUT_MS,
);
