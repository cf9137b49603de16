// For whoever gathers many processes behind one port: finds the sockets of a folder and passes one request on to one of
// them. A process that hangs or is gone costs its caller a bounded time and a clear answer, never a hanging page.
import { readdir } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { PREFIX_HEADER } from './server.js';

/** A page answers within seconds, also while its main thread is blocked: who does not is hung as a whole. */
const FIRST_BYTE_TIMEOUT_MS = 10_000;
/** Of what takes as long as it is asked to: a profile of 300 s, the longest that an agent takes, and its way here. */
const LONG_TIMEOUT_MS = 330_000;
const LONG_PAGE = /\/(?:profile|heap|heap\/snapshot|trace)\/*(?:\?|$)/;
/** An agent accepts at once, however busy its program is. */
const CONNECT_TIMEOUT_MS = 2_000;
/** Between two pieces of a body that has begun. */
const IDLE_TIMEOUT_MS = 60_000;
const JSON_TIMEOUT_MS = 3_000;
const JSON_BYTES_MAX = 16 * 1024 * 1024;

/** Nothing else of the client's request is an agent's business, least of all its token. */
const PASSED_REQUEST_HEADERS = ['accept', 'user-agent'] as const;
const PASSED_RESPONSE_HEADERS = [
  'content-type',
  'content-disposition',
  'content-security-policy',
  'content-length',
  'cache-control',
  'retry-after',
  'allow',
  'x-content-type-options',
] as const;

export interface DebugSocket {
  /** The file's name without `.sock`: the process's name in a cluster, its pid elsewhere. */
  readonly name: string;
  readonly socketPath: string;
}

/** The sockets in `folder`, by name, also those whose process has died; none when there is no such folder. */
export async function listDebugSockets(folder: string): Promise<DebugSocket[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isSocket() && entry.name.endsWith('.sock'))
    .map(({ name }) => ({ name: path.basename(name, '.sock'), socketPath: path.join(folder, name) }))
    .toSorted((a, b) => a.name.localeCompare(b.name));
}

export interface ProxyOptions {
  /** What to ask the agent for, query included: `/debug/stack?format=json`. */
  readonly target: string;
  /** Where the client sees this agent's `/debug`, for the links of its pages: `/debug/workers/http-1`. */
  readonly prefix: string;
  /** Until the answer begins. Default 10 s; 330 s for profiles, traces and heap snapshots. */
  readonly timeoutMs?: number;
}

/**
 * Passes `request` (method and what it accepts, no body, no credentials) to the agent at `socketPath` and its answer to
 * `response`. Answers 502 when no agent is there and 504 when it does not answer in time; a client that goes away ends
 * the agent's work. Resolves when the answer is out or the client gone; never rejects.
 */
export async function proxyDebug(
  socketPath: string,
  request: IncomingMessage,
  response: ServerResponse,
  { target, prefix, timeoutMs = LONG_PAGE.test(target) ? LONG_TIMEOUT_MS : FIRST_BYTE_TIMEOUT_MS }: ProxyOptions,
): Promise<void> {
  const headers = { ...pick(request.headers, PASSED_REQUEST_HEADERS), [PREFIX_HEADER]: prefix };
  try {
    const answer = await open({ socketPath, method: request.method ?? 'GET', target, headers, timeoutMs }, response);
    response.writeHead(answer.statusCode ?? 502, pick(answer.headers, PASSED_RESPONSE_HEADERS));
    await pipeline(answer, response);
  } catch (error) {
    if (response.headersSent || response.destroyed) {
      response.destroy();
      return;
    }
    const late = error instanceof AgentSilent;
    response.writeHead(late ? 504 : 502, { 'content-type': 'application/json; charset=utf-8' });
    const [code, detail] = late
      ? ['agent_silent', error.message]
      : ['agent_unreachable', 'no diagnostics agent answers there: the process has ended or runs without one'];
    response.end(`${JSON.stringify({ code, detail })}\n`);
  }
}

/**
 * The JSON of one page of one agent, for pages that gather many.
 * @throws Error when it has not answered 200 with JSON, to its last byte, within `timeoutMs` (default 3 s).
 */
export async function askDebug(socketPath: string, target: string, timeoutMs = JSON_TIMEOUT_MS): Promise<unknown> {
  const startedAt = Date.now();
  const answer = await open({ socketPath, method: 'GET', target, headers: { accept: 'application/json' }, timeoutMs });
  const late = new AgentSilent(`the diagnostics agent did not finish its answer within ${timeoutMs} ms`);
  const timer = setTimeout(() => answer.destroy(late), timeoutMs - (Date.now() - startedAt));
  try {
    return await readJson(answer, target);
  } finally {
    clearTimeout(timer);
  }
}

async function readJson(answer: IncomingMessage, target: string): Promise<unknown> {
  if (answer.statusCode !== 200) {
    answer.destroy();
    throw new Error(`${target} answered ${String(answer.statusCode)}`);
  }
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > JSON_BYTES_MAX) throw new Error(`${target} answered more than ${JSON_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString()) as unknown;
}

class AgentSilent extends Error {
  override readonly name = 'AgentSilent';
}

interface AgentRequest {
  readonly socketPath: string;
  readonly method: string;
  readonly target: string;
  readonly headers: OutgoingHttpHeaders;
  readonly timeoutMs: number;
}

/** Resolves with the head of the answer. When `client` closes before its end, so does the request. */
async function open(request: AgentRequest, client?: ServerResponse): Promise<IncomingMessage> {
  const { socketPath, method, target, headers, timeoutMs } = request;
  return new Promise((resolve, reject) => {
    const sent = httpRequest({ socketPath, method, path: target, headers, agent: false });
    const silent = (ms: number): void => {
      sent.destroy(new AgentSilent(`the diagnostics agent did not answer within ${ms} ms`));
    };
    let timer = setTimeout(() => silent(CONNECT_TIMEOUT_MS), CONNECT_TIMEOUT_MS);
    const leave = (): void => {
      sent.destroy();
    };
    client?.once('close', leave);
    sent.once('socket', (socket) => {
      socket.once('connect', () => {
        clearTimeout(timer);
        timer = setTimeout(() => silent(timeoutMs), timeoutMs);
      });
    });
    sent.once('response', (answer) => {
      clearTimeout(timer);
      sent.setTimeout(IDLE_TIMEOUT_MS, () => silent(IDLE_TIMEOUT_MS));
      resolve(answer);
    });
    sent.once('error', reject);
    sent.once('close', () => {
      clearTimeout(timer);
      client?.off('close', leave);
      // Without an error of its own: the client has gone. Settled already in every other case.
      reject(new Error('the request was given up'));
    });
    sent.end();
  });
}

function pick(headers: IncomingMessage['headers'], names: readonly string[]): OutgoingHttpHeaders {
  return Object.fromEntries(names.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]])));
}
