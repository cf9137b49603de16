// The agent in every process of the running service, seen through the admin port: it names the line that leaks and the
// line that blocks in the real claim handler, and no process can hold up the pages of the others.
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WorkerEntry } from '../../diagnostics/gather/gather.js';
import type { StackReport } from '../../diagnostics/agent/stack.js';
import type { LeakReport, LeakSite, RecorderSnapshot } from '../../diagnostics/model.js';
import { packagePath } from '../../platform/package-root.js';
import { launchChromium, BROWSER_TEST_TIMEOUT_MS } from '../harness/chromium.js';
import { Crowd } from '../harness/crowd.js';
import { createTestDatabase } from '../harness/database.js';
import { command, createCoupon } from '../harness/operator.js';
import { startTestRedis } from '../harness/servers.js';
import type { TestService } from '../harness/service.js';
import { SERVICE_TEST_TIMEOUT_MS, startService } from '../harness/service.js';
import { waitFor } from '../harness/wait-for.js';

const NAMES = ['primary', 'http-1', 'ledger-1', 'admin-1'];
const HANDLER = packagePath('cluster', 'http', 'claim-routes.ts');
/** The one that planting-loader.mjs adds its faults to. */
const PLANTED_LINE = 'const identified = identify(request.raw);';
/** In the Piscina threads of the ledger, the same in a file of its own. */
const PLANT = packagePath('test', 'service', 'planted.mjs');
const TASK = packagePath('workers', 'ledger', 'writer-thread.ts');
const PLANTED_IN_THREAD = { file: PLANT, line: 14 };
/** The shortest that the setting takes: a leak is named within 2.5 windows instead of the 100 s of production. */
const LEAK_WINDOW_MS = 5_000;
const CLAIM_EVERY_MS = 20;
const REQUEST_LIMIT_MS = 20_000;
const LEAK_TEST_TIMEOUT_MS = 240_000;

let service: TestService;
let crowd: Crowd;
let line: number;

beforeAll(async () => {
  const lines = (await readFile(HANDLER, 'utf8')).split('\n');
  line = lines.findIndex((text) => text.includes(PLANTED_LINE)) + 1;
  service = await startService({
    REDIS_URL: (await startTestRedis()).url,
    MYSQL_URL: (await createTestDatabase()).url,
    WEB_CONCURRENCY: '1',
    LEAK_WINDOW_MS: String(LEAK_WINDOW_MS),
    NODE_OPTIONS: `--import ${PLANT}`,
  });
  await createCoupon(service, 'leaky', 1_000_000);
  crowd = new Crowd(service.url, 'leaky', 4);
}, SERVICE_TEST_TIMEOUT_MS);

afterAll(() => crowd.close());

async function debug(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
  return fetch(`${service.adminUrl}/debug${path}`, {
    headers: { authorization: `Bearer ${service.adminToken}`, ...headers },
    signal: AbortSignal.timeout(REQUEST_LIMIT_MS),
  });
}

async function json<T>(path: string): Promise<T> {
  return (await (await debug(path)).json()) as T;
}

async function workers(): Promise<WorkerEntry[]> {
  return (await json<{ workers: WorkerEntry[] }>('/workers')).workers;
}

describe('every process', () => {
  it('has its socket, for this user alone, and answers on the admin port with its vital signs', async () => {
    for (const name of NAMES) {
      const { mode } = await stat(join(service.dir, 'run', `${name}.sock`));
      expect([name, (mode & 0o777).toString(8)]).toEqual([name, '600']);
    }
    const entries = await waitFor(
      async () => {
        const all = await workers();
        return all.every(({ heap }) => heap !== undefined) ? all : undefined;
      },
      { what: 'the first vital signs of all' },
    );
    expect(entries.map(({ name }) => name)).toEqual(NAMES);
    const pids = await service.workers();
    for (const { name, role, pid, uptimeSeconds, eventLoop, heap, liveByType, verdict } of entries) {
      expect(pid).toBe(name === 'primary' ? service.pid : pids.get(name));
      expect(name.startsWith(role)).toBe(true);
      expect(uptimeSeconds).toBeGreaterThanOrEqual(0);
      expect(eventLoop?.utilization).toBeLessThanOrEqual(1);
      expect(heap?.used).toBeGreaterThan(1_000_000);
      expect(Object.keys(liveByType ?? {})).not.toEqual([]);
      expect(verdict).toBe('clean');
    }
  });

  it('shows what its Piscina threads hold', async () => {
    const threads = await waitFor(
      async () => {
        const { sites } = await json<{ sites: { details: { thread?: number } }[] }>(
          '/workers/ledger-1/async?format=json',
        );
        const seen = new Set(sites.flatMap(({ details: { thread } }) => thread ?? []));
        return seen.size > 0 ? seen : undefined;
      },
      { what: 'a resource of a writer thread' },
    );
    expect([...threads].every((thread) => thread > 0)).toBe(true);
    const ledger = (await workers()).find(({ name }) => name === 'ledger-1');
    expect(ledger?.threads?.map(({ heap }) => heap.used > 1_000_000)).toEqual([true, true]);
  });
});

describe('while the claim handler leaks', () => {
  let isOver = false;
  let load: Promise<void>;

  beforeAll(() => {
    load = (async () => {
      for (let user = 0; !isOver; user++) {
        await crowd.ask(`user-${user}`);
        await new Promise((resolve) => setTimeout(resolve, CLAIM_EVERY_MS));
      }
    })();
  });

  afterAll(async () => {
    isOver = true;
    await load;
  });

  it('its .ts line is named, and no other process accused', { timeout: LEAK_TEST_TIMEOUT_MS }, async () => {
    const [worst] = (await leaking()).sites;
    expect(worst).toMatchObject({ verdict: 'leaking', kind: 'promise' });
    expect(worst?.stack[0]).toMatchObject({ file: HANDLER, line });
    expect(worst?.growthPerMinute).toBeGreaterThan(60);
    for (const other of ['primary', 'admin-1']) {
      expect((await json<LeakReport>(`/workers/${other}/leaks`)).verdict).toBe('clean');
    }
    const { exitCode, output } = await waitFor(
      async () => {
        const printed = await command(service, 'debug', 'leaks');
        return printed.exitCode === 1 ? printed : undefined;
      },
      { what: 'the command to say so', timeoutMs: 60_000 },
    );
    expect(exitCode).toBe(1);
    expect(output).toContain(`claim-routes.ts:${line}:`);
  });

  it(
    'a browser gets in with the token, shows the leak first, and leads to its stack',
    async () => {
      const browser = await launchChromium();
      try {
        const page = await browser.newPage({ httpCredentials: { username: 'anybody', password: service.adminToken } });
        await page.goto(`${service.adminUrl}/debug`);
        // After the challenge, which the console tells as an error.
        const complaints: string[] = [];
        page.on('console', (message) => {
          // Browsers ask for an icon where they please; there is none, and this one is not told whether.
          if (!message.location().url.endsWith('/favicon.ico')) complaints.push(message.text());
        });
        page.on('pageerror', (error) => complaints.push(error.message));
        const suspect = page.locator('details.suspect').first();
        await waitFor(
          async () => {
            await page.reload();
            return (await suspect.count()) > 0;
          },
          { what: 'the suspect on the page', timeoutMs: 60_000 },
        );
        expect(await suspect.locator('pre').innerText()).toContain(`claim-routes.ts:${line}:`);
        expect(await suspect.innerText()).toContain('Usual cause:');
        expect(await page.locator('section.process h3').allInnerTexts()).toEqual(
          NAMES.map((name) => expect.stringMatching(`^${name} `) as string),
        );
        expect(await page.locator('section.process').nth(1).locator('figure path').count()).toBe(3);

        await suspect.getByRole('link', { name: 'http-1' }).click();
        expect(new URL(page.url()).pathname).toBe('/debug/workers/http-1');
        expect(await page.title()).toMatch(/^http-1 /);
        // A leaf of the flame graph leads to its place in the list below.
        await page.locator('svg.flame a').filter({ hasText: 'claim-routes.ts' }).first().click();
        expect(page.url()).toContain('#site-');
        const site = page.locator('details:target');
        await site.locator('summary').click();
        expect(await site.locator('pre').innerText()).toContain(`claim-routes.ts:${line}:`);
        await page.getByRole('link', { name: '/stack' }).click();
        expect(await page.locator('body').innerText()).toMatch(/^(idle|running): the event loop turns/);
        expect(complaints).toEqual([]);
      } finally {
        await browser.close();
      }
    },
    BROWSER_TEST_TIMEOUT_MS,
  );

  it('the metrics say so for each role', { timeout: LEAK_TEST_TIMEOUT_MS }, async () => {
    const values = await waitFor(
      async () => {
        const read = await metrics();
        return (read.get('stampede_leaking_lines{role="http"}') ?? 0) >= 1 ? read : undefined;
      },
      { what: 'the leak in the metrics', timeoutMs: 60_000 },
    );
    expect(values.get('stampede_async_resources{role="http",type="PROMISE"}')).toBeGreaterThan(100);
    expect(values.get('stampede_promises{role="http",state="pending"}')).toBeGreaterThan(100);
    for (const role of ['primary', 'http', 'ledger', 'admin']) {
      expect(values.get(`stampede_leak_suspects{role="${role}"}`), role).toBeDefined();
      expect(values.get(`stampede_event_loop_utilization_ratio{role="${role}"}`), role).toBeLessThanOrEqual(1);
      expect(values.get(`stampede_recorder_bytes{role="${role}"}`), role).toBeGreaterThan(0);
    }
  });

  it('the line of a Piscina task that leaks is named, and its thread', { timeout: LEAK_TEST_TIMEOUT_MS }, async () => {
    const isPlanted = ({ stack: [frame] }: Pick<LeakSite, 'stack'>): boolean => frame?.file === PLANT;
    const accused = await waitFor(
      async () => {
        const { sites } = await json<LeakReport>('/workers/ledger-1/leaks');
        // Of several ways that lead there: the longest ones are cut off before the task's file.
        return sites.find((site) => isPlanted(site) && site.stack.some(({ file }) => file === TASK));
      },
      { what: 'the accusation', timeoutMs: 120_000 },
    );
    expect(accused).toMatchObject({ kind: 'promise', type: 'PROMISE' });
    expect(accused.stack[0]).toMatchObject(PLANTED_IN_THREAD);
    const { sites } = await json<RecorderSnapshot>('/workers/ledger-1/promises?format=json');
    const planted = sites.filter(isPlanted);
    expect(planted.map(({ details }) => details['thread'])).toContainEqual(expect.any(Number));
  });

  async function leaking(): Promise<LeakReport> {
    return waitFor(
      async () => {
        const leaks = await json<LeakReport>('/workers/http-1/leaks');
        return leaks.verdict === 'leaking' ? leaks : undefined;
      },
      { what: 'the verdict', timeoutMs: 120_000 },
    );
  }

  /** Name with labels to value. */
  async function metrics(): Promise<ReadonlyMap<string, number>> {
    const response = await fetch(`${service.adminUrl}/metrics`, {
      headers: { authorization: `Bearer ${service.adminToken}` },
      signal: AbortSignal.timeout(REQUEST_LIMIT_MS),
    });
    return new Map(
      (await response.text()).split('\n').map((text) => {
        const end = text.lastIndexOf(' ');
        return [text.slice(0, end), Number(text.slice(end + 1))];
      }),
    );
  }
});

it('a blocking loop in the claim handler is named while it blocks, and holds up no page', async () => {
  const blocked = crowd.ask('blocker');
  const stack = await waitFor(
    async () => {
      const report = await json<StackReport>('/workers/http-1/stack?format=json');
      return report.state === 'blocked' ? report : undefined;
    },
    { what: 'the blocked loop' },
  );
  expect(stack.frames[0]).toMatchObject({ file: HANDLER, line });
  const entry = (await workers()).find(({ name }) => name === 'http-1');
  expect(entry?.blockedMs).toBeGreaterThan(0);
  expect(await (await debug('', { accept: 'text/html' })).text()).toContain('Which line blocks it?');
  await blocked;
});

it('a stopped process is shown as one that does not answer, beside the others', async () => {
  const pid = (await service.workers()).get('ledger-1') ?? 0;
  process.kill(pid, 'SIGSTOP');
  try {
    const entries = await workers();
    expect(entries.find(({ name }) => name === 'ledger-1')).toMatchObject({
      pid,
      problem: expect.stringContaining('did not answer') as string,
    });
    expect(entries.find(({ name }) => name === 'http-1')?.heap).toBeDefined();
    const page = await (await debug('', { accept: 'text/html' })).text();
    expect(page).toContain('ledger-1 (ready) does not answer');
    const own = await debug('/workers/ledger-1/leaks');
    expect([own.status, ((await own.json()) as { code: string }).code]).toEqual([504, 'agent_silent']);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
});

it(
  'a replacement takes the socket over',
  async () => {
    const before = (await service.workers()).get('http-1') ?? 0;
    process.kill(before, 'SIGKILL');
    const after = await waitFor(
      async () => {
        const entry = (await workers()).find(({ name }) => name === 'http-1');
        return entry?.heap !== undefined && entry.pid !== before ? entry.pid : undefined;
      },
      { what: 'the agent of the next process' },
    );
    expect((await service.workers()).get('http-1')).toBe(after);
    expect(await service.stop()).toEqual({ code: 0, signal: null });
  },
  SERVICE_TEST_TIMEOUT_MS,
);
