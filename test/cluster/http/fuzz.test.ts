// Random requests with a fixed seed: whatever comes, no answer is a 5xx, none shows a stack, and the server lives.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { startPublicApi } from './public-api.js';
import { exchange, exchangeBytes, expectNoStack, parseAnswer, requestBytes } from './raw-http.js';

const SEED = 20_261_127;
const RUNS = 300;

const { port, logged } = await startPublicApi();

const bytes = (options: fc.IntArrayConstraints): fc.Arbitrary<string> =>
  fc.uint8Array(options).map((array) => Buffer.from(array).toString('latin1'));
/** One line: a line break would end the header and make another request of the rest. */
const line = bytes({ maxLength: 80 }).map((text) => text.replaceAll(/[\r\n]/g, ''));
const pathPart = fc.oneof(
  fc.constantFrom(
    'v1',
    'coupons',
    'open',
    'claims',
    'me',
    '',
    '..',
    '%',
    '%00',
    '%ff',
    '%2f',
    'healthz',
    'openapi.json',
  ),
  fc.string({ maxLength: 20 }).map(encodeURIComponentLoosely),
  line.map((text) => text.replaceAll(' ', '')),
);
const path = fc.array(pathPart, { maxLength: 6 }).map((parts) => `/${parts.join('/')}`);
const headerName = fc.constantFrom('X-User-Id', 'Content-Type', 'Accept', 'X-Request-Id', 'Expect', 'Cookie', 'X-Any');
const headers = fc.array(fc.tuple(headerName, line), { maxLength: 6 });
const body = fc.oneof(fc.json(), bytes({ maxLength: 200 }), fc.constant(''));
const method = fc.constantFrom('GET', 'POST', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'X');

test('random requests never get a 5xx', async () => {
  await fc.assert(
    fc.asyncProperty(method, path, headers, body, async (...[verb, target, fields, content]) => {
      const request = requestBytes({
        method: verb,
        path: target,
        headers: fields,
        body: Buffer.from(content, 'latin1'),
      });
      const answer = parseAnswer(await exchangeBytes(port, request));
      expect(answer.status).toBeGreaterThanOrEqual(200);
      expect(answer.status).toBeLessThan(500);
      expectNoStack(answer.body);
    }),
    { seed: SEED, numRuns: RUNS },
  );
});

test('random bytes never stop the server', async () => {
  await fc.assert(
    fc.asyncProperty(bytes({ minLength: 1, maxLength: 400 }), async (rubbish) => {
      // The end of the headers, so that the server need not wait for more.
      const text = await exchangeBytes(port, Buffer.from(`${rubbish}\r\n\r\n`, 'latin1'));
      for (const [, status] of text.matchAll(/HTTP\/1\.1 (\d+)/g)) expect(Number(status)).toBeLessThan(500);
      expectNoStack(text);
    }),
    { seed: SEED, numRuns: RUNS },
  );
  expect((await exchange(port, { path: '/healthz' })).status).toBe(200);
  expect(logged).toEqual([]);
});

/** Some characters encoded, some not, some wrongly: lone surrogates have no encoding. */
function encodeURIComponentLoosely(text: string): string {
  try {
    return encodeURIComponent(text);
  } catch {
    return '%ED%A0%80';
  }
}
