// Every malformed request to the public API gets a problem document with the right status and code: never a 500, never a
// stack, and the server lives on. Sent as bytes, because good clients refuse to.
import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { HTTP_LIMITS } from '../../../cluster/http/limits.js';
import type { ErrorCode } from '../../../platform/errors.js';
import { startPublicApi } from './public-api.js';
import { exchange, exchangeBytes, expectProblem, parseAnswer, requestBytes } from './raw-http.js';
import type { RequestParts } from './raw-http.js';

const { port, claims } = await startPublicApi();
const CLAIM = '/v1/coupons/open/claims';
const ANN = ['X-User-Id', 'ann'] as const;
const JSON_TYPE = ['Content-Type', 'application/json'] as const;

const cases: Record<string, readonly (readonly [what: string, code: ErrorCode, request: RequestParts])[]> = {
  'coupon ids': [
    ['too long', 'invalid_coupon_id', { path: `/v1/coupons/${'c'.repeat(65)}` }],
    ['much too long', 'invalid_coupon_id', { path: `/v1/coupons/${'c'.repeat(3_000)}` }],
    ['empty', 'invalid_coupon_id', { path: '/v1/coupons/' }],
    ['empty in the middle', 'invalid_coupon_id', { method: 'POST', path: '/v1/coupons//claims', headers: [ANN] }],
    ['NUL', 'invalid_coupon_id', { path: '/v1/coupons/a%00b' }],
    ['a space', 'invalid_coupon_id', { path: '/v1/coupons/a%20b' }],
    ['an encoded slash', 'invalid_coupon_id', { path: '/v1/coupons/a%2Fb' }],
    ['an encoded percent sign', 'invalid_coupon_id', { path: '/v1/coupons/a%2500' }],
    ['letters that are not ASCII', 'invalid_coupon_id', { path: `/v1/coupons/${encodeURIComponent('à')}` }],
    ['invalid UTF-8', 'invalid_request', { path: '/v1/coupons/%ff%fe' }],
    ['an overlong encoding', 'invalid_request', { path: '/v1/coupons/%c0%af' }],
    ['invalid percent encoding', 'invalid_request', { path: '/v1/coupons/%zz' }],
    ['half a percent encoding', 'invalid_request', { path: '/v1/coupons/%' }],
    ['raw bytes above ASCII', 'invalid_request', { path: '/v1/coupons/\xe9' }],
  ],
  'user ids': [
    ['missing', 'unauthenticated', { method: 'POST', path: CLAIM }],
    ['empty', 'invalid_user_id', { method: 'POST', path: CLAIM, headers: [['X-User-Id', '']] }],
    ['65 bytes', 'invalid_user_id', { method: 'POST', path: CLAIM, headers: [['X-User-Id', 'u'.repeat(65)]] }],
    [
      '65 bytes in 33 letters',
      'invalid_user_id',
      { path: `${CLAIM}/me`, headers: [['X-User-Id', 'Ã\xa0'.repeat(33)]] },
    ],
    ['a tab', 'invalid_user_id', { method: 'POST', path: CLAIM, headers: [['X-User-Id', 'a\tb']] }],
    ['a C1 control', 'invalid_user_id', { method: 'POST', path: CLAIM, headers: [['X-User-Id', 'a\xc2\x85b']] }],
    ['invalid UTF-8', 'invalid_user_id', { method: 'POST', path: CLAIM, headers: [['X-User-Id', 'a\xff']] }],
    ['Latin-1 for UTF-8', 'invalid_user_id', { method: 'POST', path: CLAIM, headers: [['X-User-Id', '\xe0']] }],
    [
      'a surrogate in UTF-8',
      'invalid_user_id',
      { method: 'POST', path: CLAIM, headers: [['X-User-Id', '\xed\xa0\x80']] },
    ],
    ['twice', 'invalid_user_id', { method: 'POST', path: CLAIM, headers: [ANN, ['x-user-id', 'bob']] }],
    ['twice the same', 'invalid_user_id', { path: `${CLAIM}/me`, headers: [ANN, ANN] }],
    ['NUL', 'invalid_request', { method: 'POST', path: CLAIM, headers: [['X-User-Id', 'a\0b']] }],
  ],
  bodies: [
    ['broken JSON', 'invalid_json', { method: 'POST', path: CLAIM, headers: [ANN, JSON_TYPE], body: '{"a":' }],
    [
      'JSON in bad UTF-8',
      'invalid_json',
      { method: 'POST', path: CLAIM, headers: [ANN, JSON_TYPE], body: Buffer.from('{"a":"\xff"}', 'latin1') },
    ],
    ['a JSON array', 'invalid_body', { method: 'POST', path: CLAIM, headers: [ANN, JSON_TYPE], body: '[]' }],
    ['a JSON null', 'invalid_body', { method: 'POST', path: CLAIM, headers: [ANN, JSON_TYPE], body: 'null' }],
    ['a JSON number', 'invalid_body', { method: 'POST', path: CLAIM, headers: [ANN, JSON_TYPE], body: '5' }],
    [
      'deep JSON',
      'invalid_body',
      { method: 'POST', path: CLAIM, headers: [ANN, JSON_TYPE], body: '['.repeat(8_000) + ']'.repeat(8_000) },
    ],
    [
      'a derived JSON type',
      'invalid_json',
      { method: 'POST', path: CLAIM, headers: [ANN, ['Content-Type', 'application/merge-patch+json']], body: 'x' },
    ],
    [
      'no media type',
      'unsupported_media_type',
      { method: 'POST', path: CLAIM, headers: [ANN, ['Content-Type', 'rubbish']], body: 'x' },
    ],
    [
      'one byte too many',
      'body_too_large',
      { method: 'POST', path: CLAIM, headers: [ANN], body: 'x'.repeat(HTTP_LIMITS.bodyBytesMax + 1) },
    ],
    ['huge', 'body_too_large', { method: 'POST', path: CLAIM, headers: [ANN, JSON_TYPE], body: 'x'.repeat(4_000_000) }],
    [
      'huge in chunks',
      'body_too_large',
      {
        method: 'POST',
        path: CLAIM,
        headers: [ANN, ['Transfer-Encoding', 'chunked']],
        body: `fffff\r\n${'x'.repeat(0xfffff)}\r\n0\r\n\r\n`,
      },
    ],
  ],
  addresses: [
    ['unknown', 'not_found', { path: '/v2/nothing' }],
    ['unknown, with a body', 'not_found', { method: 'POST', path: '/v2', headers: [JSON_TYPE], body: '{' }],
    ['an unknown method', 'not_found', { method: 'PROPFIND', path: '/v2' }],
    ['too long', 'uri_too_long', { path: `/v1/coupons/open?${'q'.repeat(HTTP_LIMITS.urlLengthMax)}` }],
    ['too long an id', 'uri_too_long', { path: `/v1/coupons/${'c'.repeat(HTTP_LIMITS.urlLengthMax + 1)}` }],
    ['an asterisk', 'not_found', { method: 'OPTIONS', path: '*' }],
    ['an upward path', 'not_found', { path: '/../../etc/passwd' }],
  ],
  headers: [
    ['huge', 'headers_too_large', { path: '/healthz', headers: [['X-Big', 'x'.repeat(100_000)]] }],
    [
      'a great many',
      'headers_too_large',
      { path: '/healthz', headers: Array.from({ length: 5_000 }, (_, i) => [`X-${i}`, 'y'] as const) },
    ],
    ['a huge address', 'headers_too_large', { path: `/v1/coupons/${'c'.repeat(100_000)}` }],
    [
      'two lengths',
      'invalid_request',
      { method: 'POST', path: CLAIM, headers: [ANN, ['Content-Length', '1'], ['Content-Length', '2']], body: 'x' },
    ],
    [
      'length and chunks',
      'invalid_request',
      {
        method: 'POST',
        path: CLAIM,
        headers: [ANN, ['Content-Length', '1'], ['Transfer-Encoding', 'chunked']],
        body: '0\r\n\r\n',
      },
    ],
    ['a negative length', 'invalid_request', { method: 'POST', path: CLAIM, headers: [ANN, ['Content-Length', '-1']] }],
    [
      'rubbish for a chunk',
      'invalid_request',
      { method: 'POST', path: CLAIM, headers: [ANN, ['Transfer-Encoding', 'chunked']], body: 'zz\r\n' },
    ],
  ],
};

for (const [area, ofArea] of Object.entries(cases)) {
  describe(area, () => {
    test.each(ofArea)('%s: %s', async (_what, code, request) => {
      expectProblem(await exchange(port, request), code);
    });
  });
}

describe('methods', () => {
  test.each([
    ['PUT', `${CLAIM}/me`, 'DELETE, GET, HEAD'],
    ['PUT', CLAIM, 'POST'],
    ['GET', CLAIM, 'POST'],
    ['POST', '/v1/coupons/open', 'GET, HEAD'],
    ['PATCH', '/healthz', 'GET, HEAD'],
    ['OPTIONS', CLAIM, 'POST'],
    ['PROPFIND', CLAIM, 'POST'],
    ['TRACE', '/readyz?x=1', 'GET, HEAD'],
  ])('%s %s is 405 and names %s', async (method, path, allow) => {
    const answer = await exchange(port, { method, path, headers: [ANN] });
    expectProblem(answer, 'method_not_allowed');
    expect(answer.headers.get('allow')).toBe(allow);
  });

  test('HEAD of a refusal has the status and no body', async () => {
    const answer = await exchange(port, { method: 'HEAD', path: '/v1/coupons/none' });
    expect(answer).toMatchObject({ status: 404, body: '' });
  });
});

describe('bytes that are no request', () => {
  test.each<[what: string, code: ErrorCode, bytes: Buffer | string]>([
    ['rubbish', 'invalid_request', '\x16\x03\x01\x02\x00 this is TLS, or so\r\n\r\n'],
    ['an unknown method', 'invalid_request', 'FLY /healthz HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['an unknown version', 'invalid_request', 'GET /healthz HTTP/9.9\r\nHost: a\r\n\r\n'],
    ['HTTP/2', 'invalid_request', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['a space in the address', 'invalid_request', 'GET /heal thz HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['a header without a colon', 'invalid_request', 'GET /healthz HTTP/1.1\r\nHost\r\n\r\n'],
    ['no Host', 'invalid_request', 'GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n'],
    ['CONNECT', 'invalid_request', 'CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n'],
  ])('%s', async (_what, code, bytes) => {
    expectProblem(parseAnswer(await exchangeBytes(port, bytes)), code);
  });

  test('an expectation that nobody knows is ignored', async () => {
    const answer = await exchange(port, { path: '/healthz', headers: [['Expect', 'miracles']] });
    expect(answer.status).toBe(200);
  });

  test('behind a good request that is being worked on do not change its answer', async () => {
    let open = (): void => undefined;
    claims.gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const good = requestBytes({ method: 'POST', path: CLAIM, headers: [['X-User-Id', 'pipeliner']] });
    const text = exchangeBytes(
      port,
      Buffer.concat([removeClose(good), Buffer.from('RUBBISH\r\n\r\n'), Buffer.from('more')]),
    );
    // Whoever asks after these bytes were read is answered: by then the parser has seen the rubbish.
    await exchange(port, { path: '/healthz' });
    open();
    claims.gate = Promise.resolve();
    expect((await text).match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 201']);
  });
});

test('a request whose headers never end is 408, and so is one whose body never ends', async () => {
  const impatient = await startPublicApi({}, { headersTimeoutMs: 100, requestTimeoutMs: 200, timeoutCheckMs: 50 });
  const noHeaders = exchangeBytes(impatient.port, 'GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ');
  const noBody = exchangeBytes(
    impatient.port,
    requestBytes({ method: 'POST', path: CLAIM, headers: [ANN, ['Content-Length', '5']], body: 'x' }),
  );
  expectProblem(parseAnswer(await noHeaders), 'request_timeout');
  expectProblem(parseAnswer(await noBody), 'request_timeout');
});

test('a client that goes away in the middle of its body leaves nothing behind', async () => {
  const socket = connect(port, '127.0.0.1');
  const bytes = requestBytes({
    method: 'POST',
    path: CLAIM,
    headers: [ANN, JSON_TYPE, ['Content-Length', '50']],
    body: '{',
  });
  await new Promise<void>((resolve) => {
    socket.write(bytes, () => {
      resolve();
    });
  });
  socket.resetAndDestroy();
  expect((await exchange(port, { path: '/healthz' })).status).toBe(200);
});

function removeClose(request: Buffer): Buffer {
  return Buffer.from(request.toString('latin1').replace('Connection: close\r\n', ''), 'latin1');
}
