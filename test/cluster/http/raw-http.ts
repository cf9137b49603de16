// HTTP as bytes on a socket: what a well-behaved client cannot send, and what exactly comes back.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { expect } from 'vitest';
import { ERRORS } from '../../../platform/errors.js';
import type { ErrorCode } from '../../../platform/errors.js';

const EXCHANGE_TIMEOUT_MS = 20_000;

export interface RawAnswer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

export interface RequestParts {
  readonly method?: string;
  readonly path?: string;
  /** In order, repeats allowed, values as Latin-1: one character is one byte. `Host` and `Connection: close` come with it. */
  readonly headers?: readonly (readonly [name: string, value: string])[];
  readonly body?: string | Buffer;
}

/** The bytes of one request after which the connection closes. */
export function requestBytes({ method = 'GET', path = '/', headers = [], body }: RequestParts): Buffer {
  const all: (readonly [string, string])[] = [['Host', 'test'], ['Connection', 'close'], ...headers];
  if (body !== undefined && !all.some(([name]) => /^(content-length|transfer-encoding)$/i.test(name))) {
    all.push(['Content-Length', String(Buffer.byteLength(body))]);
  }
  const head = `${method} ${path} HTTP/1.1\r\n${all.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), Buffer.from(body ?? '')]);
}

/** Sends the bytes and reads until the server closes the connection. */
export async function exchangeBytes(port: number, bytes: Buffer | string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const chunks: Buffer[] = [];
    const timer = setTimeout(() => {
      socket.destroy(new Error(`no end of the connection; so far: ${Buffer.concat(chunks).toString()}`));
    }, EXCHANGE_TIMEOUT_MS);
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('end', () => {
      socket.end();
    });
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(Buffer.concat(chunks).toString());
    });
    socket.write(bytes);
  });
}

/** One request, one answer. */
export async function exchange(port: number, parts: RequestParts): Promise<RawAnswer> {
  return parseAnswer(await exchangeBytes(port, requestBytes(parts)));
}

/** The first answer in the text. */
export function parseAnswer(text: string): RawAnswer {
  const [head = '', ...rest] = text.split('\r\n\r\n');
  const [statusLine = '', ...headerLines] = head.split('\r\n');
  const headers = new Map(
    headerLines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
    }),
  );
  const body = Buffer.from(rest.join('\r\n\r\n'));
  const length = headers.get('content-length');
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(statusLine)?.[1]),
    headers,
    body: (length === undefined ? body : body.subarray(0, Number(length))).toString(),
  };
}

/** Asserts a problem document of this code in every respect, and returns it. */
export function expectProblem(answer: RawAnswer, code: ErrorCode): Record<string, unknown> {
  const kind: { status: number; title: string; retryAfterSeconds?: number } = ERRORS[code];
  expect({ status: answer.status, body: answer.body }).toMatchObject({ status: kind.status });
  expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  expect(answer.headers.get('retry-after')).toBe(kind.retryAfterSeconds?.toString());
  const problem = JSON.parse(answer.body) as Record<string, unknown>;
  expect(problem).toMatchObject({ type: `urn:stampede:error:${code}`, title: kind.title, status: kind.status, code });
  expectNoStack(answer.body);
  return problem;
}

export function expectNoStack(body: string): void {
  expect(body).not.toMatch(/\n\s*at |\\n\s*at |\.[cm]?[jt]s:\d+|node_modules|node:/);
}

/** A port of this machine on which nobody listens. */
export async function unusedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
