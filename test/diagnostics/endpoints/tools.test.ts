// The tools that people have open what the agent sends, and show the functions and lines that are planted here: `go tool
// pprof` by URL from a running program, and speedscope.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { proxyDebug } from '../../../diagnostics/endpoints/proxy.js';
import { BROWSER_TEST_TIMEOUT_MS, launchChromium } from '../../harness/chromium.js';
import type { GoPprof } from '../../harness/go.js';
import { GO_TEST_TIMEOUT_MS, provideGoPprof } from '../../harness/go.js';
import { speedscopeRows } from '../../harness/speedscope.js';
import type { SpeedscopeRow } from '../../harness/speedscope.js';
import { ask, startProgram } from '../agent/program.js';
import type { Program } from '../agent/program.js';

/** A profile does not know code that V8 has optimised in the middle of a loop before it began: there is none here. */
const NO_OSR = `import { setFlagsFromString } from 'node:v8'; setFlagsFromString('--no-use-osr');`;
/** `burn` uses the time (line 4), `keep` the memory (line 8), and `forget` leaves promises pending (line 11). */
const SOURCE = `${NO_OSR} const kept = [];
function burn(untilMs) {
  let turns = 0;
  while (Date.now() < untilMs) turns += 1;
  return turns;
}
function keep() {
  kept.push(new Array(50_000).fill(kept.length));
}
function forget() {
  kept.push(new Promise(() => {}));
}
setInterval(() => {
  burn(Date.now() + 20);
  keep();
  forget();
}, 40);
`;
const PLANTED = [
  { page: 'profile?seconds=1', functionName: 'burn', line: 4 },
  { page: 'heap?seconds=1', functionName: 'keep', line: 7 },
  { page: 'async', functionName: 'forget', line: 11 },
] as const;

let program: Program;
beforeAll(async () => {
  program = await startProgram(SOURCE);
});

describe('go tool pprof', () => {
  let goPprof: GoPprof;
  let origin: string;
  // It reads from TCP, not from Unix sockets.
  const server = createServer((request, response) => {
    const options = { target: request.url ?? '', prefix: '/debug' };
    proxyDebug(program.socketPath, request, response, options).catch((error: unknown) => {
      response.destroy(error as Error);
    });
  });

  beforeAll(async () => {
    goPprof = await provideGoPprof();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }, GO_TEST_TIMEOUT_MS);

  afterAll(() => server.close());

  test.each(PLANTED)('opens /debug/pprof/$page and names $functionName and its line', async (planted) => {
    const { page, functionName, line } = planted;
    const [first = ''] = rowsOf(await goPprof('-top', `${origin}/debug/pprof/${page}`));
    expect(first.split(/\s+/).at(-1)).toBe(functionName);
    const [firstLine = ''] = rowsOf(await goPprof('-lines', '-top', `${origin}/debug/pprof/${page}`));
    expect(firstLine).toContain(`${functionName} ${program.folder}/app.mjs:${line}`);
  });
});

describe('speedscope', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  }, BROWSER_TEST_TIMEOUT_MS);
  afterAll(() => browser.close());

  test.each(PLANTED)('opens /debug/pprof/$page and shows $functionName as the largest', async (planted) => {
    const { body } = await ask(program.socketPath, `/debug/pprof/${planted.page}`);
    const [first] = await speedscopeRows(browser, body);
    expect(first).toEqual<SpeedscopeRow>({
      functionName: planted.functionName,
      totalShare: expect.any(Number) as number,
    });
    expect(first?.totalShare).toBeGreaterThan(0.2);
  });
});

/** Of the table that `-top` prints, below its head. */
function rowsOf(printed: string): string[] {
  const lines = printed.split('\n');
  return lines.slice(lines.findIndex((line) => line.includes('flat%')) + 1);
}
