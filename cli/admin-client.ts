// How commands speak with the running service: the admin API over HTTP, with the token of this installation. Never opens
// Redis or MySQL itself, so a command can do nothing that the service would not.
import { readAdminToken } from '../platform/admin-token.js';
import { ConfigurationError, messageOf } from '../platform/errors.js';
import { readSettings } from '../platform/settings.js';

/** The service has a time limit for everything it does for a request; this is well beyond it. */
const REQUEST_TIMEOUT_MS = 30_000;
/** Longest audit, below the 300 s after which Node's fetch gives up on its own. */
export const AUDIT_TIMEOUT_MS = 280_000;

export type Environment = Readonly<Record<string, string | undefined>>;

/** What a command needs of the process it runs in. */
export interface CommandIo {
  readonly environment: Environment;
  out(text: string): void;
  err(text: string): void;
  exitCode(code: number): void;
}

/** Nobody answers at the admin address, or nobody who knows this API. */
export class ServiceUnreachable extends Error {
  override readonly name = 'ServiceUnreachable';
}

/** The service answered with a problem document; the message is its one line for people. */
export class RequestRefused extends Error {
  override readonly name = 'RequestRefused';
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export interface AdminRequest {
  readonly method?: 'GET' | 'POST' | 'PATCH';
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

/** Resolves with the JSON of a 2xx answer. Rejects with `ServiceUnreachable`, or with `RequestRefused`. */
export type AskAdmin = (request: AdminRequest) => Promise<unknown>;

/** Resolves with a 2xx answer of any type, its body unread. Rejects in the same way. */
export type OpenAdmin = (request: AdminRequest) => Promise<Response>;

/**
 * Finds address and token in the settings. Rejects with `ConfigurationError` for a wrong setting, and with
 * `ServiceUnreachable` when there is no token yet, because then the service was never started here.
 */
export async function connectAdmin(environment: Environment): Promise<AskAdmin> {
  const { origin, token } = await addressOf(environment);
  return (request) => ask(origin, token, request);
}

/** As `connectAdmin`, for what is no JSON. */
export async function openAdmin(environment: Environment): Promise<OpenAdmin> {
  const { origin, token } = await addressOf(environment);
  return async (request) => {
    const response = await send(origin, token, request);
    if (response.ok) return response;
    const text = await response.text();
    const problem = parse(text);
    throw problem === undefined ? new RequestRefused('unknown', text.trim()) : refusal(problem);
  };
}

async function addressOf(environment: Environment): Promise<{ origin: string; token: string }> {
  const settings = readSettings(environment);
  const token = await readAdminToken(settings).catch((error: unknown) => {
    throw error instanceof ConfigurationError ? new ServiceUnreachable(error.message, { cause: error }) : error;
  });
  return { origin: `http://${reachable(settings.adminHost)}:${settings.adminPort}`, token };
}

async function ask(origin: string, token: string, request: AdminRequest): Promise<unknown> {
  const response = await send(origin, token, request);
  const answer = parse(await orUnreachable(origin, request, () => response.text()));
  if (answer === undefined) {
    throw new ServiceUnreachable(`Another program answers at ${origin}: look at ADMIN_HOST and ADMIN_PORT.`);
  }
  if (!response.ok) throw refusal(answer);
  return answer;
}

async function send(origin: string, token: string, request: AdminRequest): Promise<Response> {
  const { method = 'GET', path, body, headers, timeoutMs = REQUEST_TIMEOUT_MS } = request;
  return orUnreachable(origin, request, () =>
    fetch(origin + path, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(timeoutMs),
    }),
  );
}

async function orUnreachable<T>(origin: string, request: AdminRequest, work: () => Promise<T>): Promise<T> {
  const { timeoutMs = REQUEST_TIMEOUT_MS } = request;
  try {
    return await work();
  } catch (error) {
    throw new ServiceUnreachable(unreachableMessage(origin, error, timeoutMs), { cause: error });
  }
}

/** A listener on all addresses is reached on this machine. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}

function unreachableMessage(origin: string, error: unknown, timeoutMs: number): string {
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    return `The service at ${origin} did not answer within ${timeoutMs / 1_000} s.`;
  }
  // fetch says "fetch failed"; its cause says why.
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : messageOf(cause);
  return `No service answers at ${origin} (${code}). Start it with \`npm start\`, or set ADMIN_HOST and ADMIN_PORT.`;
}

function parse(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** What to do next, where the problem's own words leave it open. */
const ADVICE: Readonly<Record<string, string>> = {
  unauthenticated: 'The token is not the one of the running service: look at ADMIN_TOKEN and STAMPEDE_DIR.',
  change_pending: 'Try again in a moment.',
};

function refusal(problem: { title?: unknown; detail?: unknown; code?: unknown; requestId?: unknown }): RequestRefused {
  const code = typeof problem.code === 'string' ? problem.code : 'unknown';
  const parts = [problem.title, problem.detail, ADVICE[code]].filter((part) => typeof part === 'string');
  const id = typeof problem.requestId === 'string' ? `, request ${problem.requestId}` : '';
  return new RequestRefused(code, `${parts.join(' ')} (${code}${id})`);
}

/** The process that runs the command. */
export function processIo(): CommandIo {
  return {
    environment: process.env,
    out: (text) => process.stdout.write(`${text}\n`),
    err: (text) => process.stderr.write(`${text}\n`),
    exitCode: (code) => {
      process.exitCode = code;
    },
  };
}
