// What the documentation and the OpenAPI documents say about errors is what the table of errors says.
import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { PROBLEM_TYPE } from '../../../cluster/http/problems.js';
import { ERRORS } from '../../../platform/errors.js';
import type { ErrorCode } from '../../../platform/errors.js';
import { packagePath } from '../../../platform/package-root.js';
import { startAdminApi } from '../admin/admin-api.js';
import { startPublicApi } from './public-api.js';
import { exchange } from './raw-http.js';

interface Operation {
  responses: Record<string, { content?: Record<string, { schema: { properties?: { code?: { enum: string[] } } } }> }>;
}
interface OpenApi {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
}

test('docs/errors.md lists exactly the codes of the table', async () => {
  const text = await readFile(packagePath('docs', 'errors.md'), 'utf8');
  const rows = [...text.matchAll(/^\| `(\w+)` +\| (\d{3}) +\| (?:(\d+) s)? *\| (.+?) +\|$/gm)];
  const documented = rows.map(([, code, status, retryAfter, title]) => ({
    code,
    status: Number(status),
    title,
    ...(retryAfter !== undefined && { retryAfterSeconds: Number(retryAfter) }),
  }));
  expect(documented).toEqual(Object.entries(ERRORS).map(([code, kind]) => ({ code, ...kind })));
});

describe.each([
  ['the public API', async () => (await exchange((await startPublicApi()).port, { path: '/openapi.json' })).body],
  ['the admin API', async () => (await (await startAdminApi()).ask('GET', '/openapi.json')).body],
])('OpenAPI of %s', async (_api, read) => {
  const document = JSON.parse(await read()) as OpenApi;
  const responses = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations).flatMap(([method, operation]) =>
      Object.entries(operation.responses).map(([status, response]) => ({
        name: `${method} ${path}`,
        status,
        response,
      })),
    ),
  );

  test('is version 3.1', () => {
    expect(document.openapi).toBe('3.1.0');
  });

  test('documents codes of the table only, each under its status', () => {
    const problems = responses.flatMap(({ status, response }) =>
      (response.content?.[PROBLEM_TYPE]?.schema.properties?.code?.enum ?? []).map((code) => ({ status, code })),
    );
    expect(problems.length).toBeGreaterThan(20);
    for (const { status, code } of problems) {
      expect(Object.keys(ERRORS)).toContain(code);
      expect(ERRORS[code as ErrorCode].status).toBe(Number(status));
    }
  });

  test('says for every operation what a good answer is', () => {
    for (const operation of new Set(responses.map(({ name }) => name))) {
      const good = responses.filter(({ name, status }) => name === operation && status.startsWith('2'));
      expect(good.map(({ response }) => Object.keys(response.content ?? {}))).not.toEqual([]);
    }
  });
});

test('the public API documents the paths of the contract', async () => {
  const { port } = await startPublicApi();
  const { paths } = JSON.parse((await exchange(port, { path: '/openapi.json' })).body) as OpenApi;
  expect(Object.keys(paths).sort()).toEqual([
    '/healthz',
    '/readyz',
    '/v1/coupons/{couponId}',
    '/v1/coupons/{couponId}/claims',
    '/v1/coupons/{couponId}/claims/me',
    '/v1/coupons/{couponId}/claims:batch',
  ]);
  expect(Object.keys(paths['/v1/coupons/{couponId}/claims']?.['post']?.responses ?? {}).sort()).toEqual([
    '200',
    '201',
    '400',
    '401',
    '404',
    '409',
    '410',
    '413',
    '414',
    '415',
    '429',
    '500',
    '503',
  ]);
});
