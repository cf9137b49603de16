// The index: text for curl, HTML for browsers, JSON for programs. Whatever the program names its things, the page stays a page.
import { beforeAll, describe, expect, test } from 'vitest';
import { indexPage } from '../../../diagnostics/endpoints/html/page.js';
import type { Overview } from '../../../diagnostics/endpoints/overview.js';
import { waitFor } from '../../harness/wait-for.js';
import { ask, startProgram } from '../agent/program.js';
import type { Program } from '../agent/program.js';

const HOSTILE = '<img src=x onerror=alert(1)>';
const SOURCE = `const kept = [];
const hostile = { ['${HOSTILE}']() { kept.push(new Promise(() => {})); } };
for (let i = 0; i < 50; i++) hostile['${HOSTILE}']();
setInterval(() => {}, 1000);
`;

let program: Program;
beforeAll(async () => {
  program = await startProgram(SOURCE);
});

async function overview(): Promise<Overview> {
  return JSON.parse((await ask(program.socketPath, '/debug?format=json')).text) as Overview;
}

describe('the index', () => {
  test('tells curl who it is, how it does and what there is to ask', async () => {
    const { text, headers } = await ask(program.socketPath, '/debug');
    expect(headers['content-type']).toContain('text/plain');
    expect(text).toContain(`app.mjs, pid ${String(program.child.pid)}, Node ${process.version}`);
    for (const path of ['/debug/leaks', '/debug/stack', '/debug/profile', '/debug/async']) expect(text).toContain(path);
  });

  test('lists only what answers', async () => {
    const { endpoints } = await overview();
    expect(endpoints.length).toBeGreaterThan(8);
    for (const { method, path } of endpoints) {
      // Wrong on purpose: it costs nothing and tells a known path (400, 200, 429) from an unknown one (404).
      const { status } = await ask(program.socketPath, `/debug${path}?format=none`, { method });
      expect(status, path).toBe(400);
    }
  });

  test('is a page for browsers that cannot be made to run anything', async () => {
    const { text, headers } = await waitFor(
      async () => {
        const answer = await ask(program.socketPath, '/debug', { headers: { accept: 'text/html,*/*' } });
        return answer.text.includes('onerror') ? answer : undefined;
      },
      { what: 'the hostile name on the page' },
    );
    expect(headers['content-type']).toContain('text/html');
    expect(headers['content-security-policy']).toContain("default-src 'none'");
    expect(text).not.toContain('<img');
    expect(text).toContain('&#60;img src=x onerror=alert(1)&#62;');
    expect(text).toContain('class="flame"');
    expect(text).toContain('href="/debug/stack"');
  });

  test('links to where the admin port shows it, and ignores a prefix that is no path', async () => {
    const page = async (prefix: string): Promise<string> => {
      const headers = { accept: 'text/html', 'x-stampede-debug-prefix': prefix };
      return (await ask(program.socketPath, '/debug', { headers })).text;
    };
    expect(await page('/debug/workers/http-1')).toContain('href="/debug/workers/http-1/stack"');
    expect(await page('javascript:alert(1)')).toContain('href="/debug/stack"');
  });

  test('shows suspects with stack, cause and fix before everything else', async () => {
    const stack = [{ functionName: 'forget', file: '/srv/app.js', line: 12, column: 3 }];
    const known = await overview();
    const page = indexPage(
      {
        ...known,
        silentMs: 4_000,
        leaks: {
          verdict: 'leaking',
          from: 0,
          to: 60_000,
          sites: [
            {
              ...{
                siteId: 's1',
                verdict: 'leaking',
                kind: 'timer',
                type: 'Timeout',
                stack,
                live: 420,
                growthPerMinute: 60,
              },
              ...{
                oldestSeconds: 420,
                since: '2026-01-01T00:00:00.000Z',
                cause: 'nobody clears it',
                fix: 'clear it',
                link: 'docs',
              },
            },
          ],
        },
      },
      '/debug',
    );
    const positions = ['blocked', 'nobody clears it', 'Vital signs'].map((words) => page.indexOf(words));
    expect(positions).toEqual(positions.toSorted((a, b) => a - b));
    expect(Math.min(...positions)).toBeGreaterThan(0);
    expect(page).toContain('at forget (/srv/app.js:12:3)');
    expect(page).toContain('+60.0/min');
  });
});
