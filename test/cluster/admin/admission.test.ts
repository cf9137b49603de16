// Who gets in at the admin port: the bearer everywhere, a browser's Basic password for /debug alone, and then only when the
// page itself or the address bar asks.
import { beforeAll, describe, expect, test } from 'vitest';
import { makeScratchFolder } from '../../harness/scratch.js';
import { exchange } from '../http/raw-http.js';
import type { RawAnswer } from '../http/raw-http.js';
import { ADMIN_TOKEN, startAdminApi } from './admin-api.js';
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
