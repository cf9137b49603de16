// Who gets in at the admin port: the bearer everywhere, a browser's Basic password for /debug and /docs alone, and a browser
// only when the page itself or the address bar asks, by a name that no other site can have.
import { beforeAll, describe, expect, test } from 'vitest';
import { makeScratchFolder } from '../../harness/scratch.js';
import { exchange, exchangeBytes, expectProblem, parseAnswer } from '../http/raw-http.js';
import type { RawAnswer } from '../http/raw-http.js';
import { ADMIN_TOKEN, ALLOWED_HOST, startAdminApi } from './admin-api.js';
import type { AdminApi } from './admin-api.js';

let api: AdminApi;
beforeAll(async () => {
  api = await startAdminApi(await makeScratchFolder('no-agents'));
});

function basic(password: string): readonly [string, string] {
  return ['Authorization', `Basic ${Buffer.from(`anybody:${password}`).toString('base64')}`];
}

async function get(path: string, ...headers: (readonly [string, string])[]): Promise<RawAnswer> {
  return exchange(api.port, { path, headers });
}

describe('/debug', () => {
  test.each(['/debug', '/debug/', '/debug/workers', '/debug/pprof/'])(
    '%s takes the token as a password',
    async (path) => {
      expect((await get(path, basic(ADMIN_TOKEN))).status).toBe(200);
      expect((await get(path, ['Authorization', `Bearer ${ADMIN_TOKEN}`])).status).toBe(200);
      expect((await get(path, basic('another'))).status).toBe(401);
      expect((await get(path)).status).toBe(401);
    },
  );

  test('asks a browser for it', async () => {
    expect((await get('/debug')).headers.get('www-authenticate')).toMatch(/^Basic realm=/);
    expect((await get('/v1/coupons')).headers.get('www-authenticate')).toMatch(/^Bearer realm=/);
  });

  test.each([
    [403, ['Sec-Fetch-Site', 'cross-site']],
    [403, ['Sec-Fetch-Site', 'same-site']],
    [403, ['Origin', 'https://elsewhere.example']],
    [403, ['Origin', 'null']],
    [200, ['Sec-Fetch-Site', 'same-origin']],
    [200, ['Sec-Fetch-Site', 'none']],
  ] as const)('answers %i to a browser that says %s', async (status, header) => {
    expect((await get('/debug', basic(ADMIN_TOKEN), header)).status).toBe(status);
  });

  test('a process that is not there is 404, with the names of those that are', async () => {
    const { status, body } = await get('/debug/workers/http-9/stack', basic(ADMIN_TOKEN));
    expect([status, JSON.parse(body)]).toEqual([404, expect.objectContaining({ code: 'not_found' })]);
  });
});

test('no other route takes a password', async () => {
  for (const path of ['/v1/coupons', '/debugger', '/readyz']) {
    expect((await get(path, basic(ADMIN_TOKEN))).status, path).toBe(401);
  }
});

/** A request whose Host header is the test's own; undefined: HTTP/1.0 without one. */
async function getAs(host: string | undefined, path: string, headers: readonly string[] = []): Promise<RawAnswer> {
  const head = host === undefined ? `GET ${path} HTTP/1.0` : `GET ${path} HTTP/1.1\r\nHost: ${host}`;
  const all = [head, 'Connection: close', ...headers].join('\r\n');
  return parseAnswer(await exchangeBytes(api.port, `${all}\r\n\r\n`));
}
const BEARER = `Authorization: Bearer ${ADMIN_TOKEN}`;

describe('a page that pointed its own name at this machine', () => {
  test.each([
    'evil.example',
    'evil.example:9464',
    'localhost.evil.example',
    '127.0.0.1.nip.example',
    'a@b',
    '[::1',
    'x:y:z',
  ])('is refused as %s, whatever it asks and shows', async (host) => {
    for (const path of ['/v1/coupons', '/docs/', '/debug', '/nowhere']) {
      expectProblem(await getAs(host, path, [BEARER]), 'forbidden');
    }
  });

  test.each([
    '127.0.0.1',
    '127.0.0.1:9464',
    '192.0.2.7',
    '[::1]:9464',
    'localhost:9464',
    'LOCALHOST',
    'stampede:9464',
    'a.localhost',
    `${ALLOWED_HOST}:443`,
    undefined,
  ])('has no such name as %s', async (host) => {
    expect((await getAs(host, '/v1/coupons', [BEARER])).status).toBe(200);
  });
});

test('a request that another page has a browser send is refused, even with the token', async () => {
  for (const header of ['Origin: https://elsewhere.example', 'Origin: null', 'Sec-Fetch-Site: cross-site']) {
    for (const path of ['/v1/coupons', '/v1/audit', '/docs/']) {
      expectProblem(await getAs('127.0.0.1', path, [BEARER, header]), 'forbidden');
    }
  }
  expect((await getAs('127.0.0.1:9464', '/v1/coupons', [BEARER, 'Origin: http://127.0.0.1:9464'])).status).toBe(200);
  expectProblem(await getAs('127.0.0.1:9464', '/v1/coupons', [BEARER, 'Origin: http://127.0.0.1:3000']), 'forbidden');
});

test('no answer may be kept, framed, guessed at or read by another page', async () => {
  for (const path of [
    '/healthz',
    '/v1/coupons',
    '/nowhere',
    '/debug',
    '/docs/',
    '/docs/json',
    '/docs/static/swagger-ui-bundle.js',
  ]) {
    const { headers } = await get(path, ['Authorization', `Bearer ${ADMIN_TOKEN}`]);
    expect([path, headers.get('x-content-type-options')]).toEqual([path, 'nosniff']);
    expect([path, headers.get('x-frame-options')]).toEqual([path, 'DENY']);
    expect([path, headers.get('cross-origin-resource-policy')]).toEqual([path, 'same-origin']);
    expect([path, headers.get('referrer-policy')]).toEqual([path, 'no-referrer']);
    expect([path, headers.get('content-security-policy')]).toEqual([
      path,
      expect.stringContaining("default-src 'none'"),
    ]);
    expect([path, headers.get('access-control-allow-origin')]).toEqual([path, undefined]);
    if (!path.startsWith('/docs/static')) expect([path, headers.get('cache-control')]).toEqual([path, 'no-store']);
  }
});

describe('/docs', () => {
  test('asks a browser for the token as its password', async () => {
    for (const path of ['/docs/', '/docs/json', '/docs/public.json', '/docs/static/swagger-ui.css']) {
      const answer = await get(path);
      expect([path, answer.status]).toEqual([path, 401]);
      expect(answer.headers.get('www-authenticate')).toMatch(/^Basic realm=/);
      expect((await get(path, basic(ADMIN_TOKEN))).status).toBe(200);
    }
  });

  test('loads nothing but its own files, all of which are there, and no script of its own', async () => {
    const page = await get('/docs/', basic(ADMIN_TOKEN));
    const links = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link = '']) => link);
    expect(links.length).toBeGreaterThan(4);
    for (const link of links) {
      const target = new URL(link, 'http://here/docs/');
      expect(target.origin).toBe('http://here');
      expect([link, (await get(target.pathname, basic(ADMIN_TOKEN))).status]).toEqual([link, 200]);
    }
    for (const [, script] of page.body.matchAll(/<script[^>]*>([^]*?)<\/script>/g)) expect(script?.trim()).toBe('');
  });

  test('shows both descriptions', async () => {
    const script = await get('/docs/static/swagger-initializer.js', basic(ADMIN_TOKEN));
    const urls = [...script.body.matchAll(/"url":"([^"]+)"/g)].map(([, url = '']) => url);
    const titles = [];
    for (const url of urls) {
      const document = JSON.parse((await get(url, basic(ADMIN_TOKEN))).body) as { info: { title: string } };
      titles.push(document.info.title);
    }
    expect(titles).toEqual(['Stampede admin', 'Stampede']);
  });
});
