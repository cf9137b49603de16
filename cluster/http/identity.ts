// Who asks: the user id of a request, from a trusted gateway's header (here) or from a bearer token (token-identity.ts).
// Nothing else of the service decides who somebody is, and nothing behind this door sees a header or a token.
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { isUserId } from '../../coupons/ids.js';
import type { ErrorCode } from '../../platform/errors.js';
import type { Log } from '../../platform/log.js';
import type { Settings } from '../../platform/settings.js';
import { createSecretTest } from './secrets.js';
import { identifyByToken } from './token-identity.js';

export interface Refusal {
  readonly code: ErrorCode;
  readonly detail?: string;
  /** The `WWW-Authenticate` header of a 401. */
  readonly challenge?: string;
}

/** The user id, or why there is none. Never rejects; answers without a promise where it can, for the hot path's sake. */
export type Identify = (request: IncomingMessage) => string | Refusal | Promise<string | Refusal>;

export function createIdentify(settings: Settings, log: Log): Identify {
  return settings.authMode === 'jwt' ? identifyByToken(settings, log) : identifyByGateway(settings.gatewayToken, log);
}

const GATEWAY_CHALLENGE = 'Gateway realm="stampede"';
const WRONG_GATEWAY: Refusal = {
  code: 'unauthenticated',
  detail: 'X-Gateway-Token is missing or wrong.',
  challenge: GATEWAY_CHALLENGE,
};
const NO_USER: Refusal = {
  code: 'unauthenticated',
  detail: 'The X-User-Id header is missing.',
  challenge: GATEWAY_CHALLENGE,
};
const TWO_USERS: Refusal = { code: 'invalid_user_id', detail: 'There is more than one X-User-Id header.' };
const INVALID_USER: Refusal = { code: 'invalid_user_id' };

/** Undefined for a server that may speak for any user, else why it may not. */
export type AdmitServer = (request: IncomingMessage) => Refusal | undefined;

const NO_SERVERS: Refusal = { code: 'forbidden', detail: 'With AUTH_MODE=jwt every user speaks for itself.' };

export function createAdmitServer(settings: Pick<Settings, 'authMode' | 'gatewayToken'>): AdmitServer {
  return settings.authMode === 'jwt' ? () => NO_SERVERS : admitGateway(settings.gatewayToken);
}

/** Without a token everybody is admitted: the settings allow that on loopback only. */
function admitGateway(gatewayToken: string | undefined): AdmitServer {
  if (gatewayToken === undefined) return () => undefined;
  const isGateway = createSecretTest(gatewayToken);
  return ({ headers }) => {
    const presented = headers['x-gateway-token'];
    return typeof presented === 'string' && isGateway(presented) ? undefined : WRONG_GATEWAY;
  };
}

function identifyByGateway(gatewayToken: string | undefined, log: Log): Identify {
  const admit = admitGateway(gatewayToken);
  // With a token it is the gateway's business who stands in front of it.
  const notice = gatewayToken === undefined ? noticeProxies(log) : () => undefined;
  return (request) => {
    const refusal = admit(request);
    if (refusal !== undefined) return refusal;
    notice(request);
    const { headers, rawHeaders } = request;
    const value = headers['x-user-id'];
    if (typeof value !== 'string') return NO_USER;
    // Node joins repeated headers with ", ", and an id may hold just that: only the raw headers can tell.
    if (value.includes(', ') && countOf('x-user-id', rawHeaders) > 1) return TWO_USERS;
    return userIdOf(value) ?? INVALID_USER;
  };
}

const PLAIN_USER_ID = /^[\x20-\x7e]{1,64}$/;

/** Node hands header bytes over as Latin-1 characters; ids are UTF-8. */
function userIdOf(value: string): string | undefined {
  if (PLAIN_USER_ID.test(value)) return value;
  const bytes = Buffer.from(value, 'latin1');
  if (!isUtf8(bytes)) return undefined;
  const userId = bytes.toString('utf8');
  return isUserId(userId) ? userId : undefined;
}

function countOf(name: string, rawHeaders: readonly string[]): number {
  let count = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() === name) count++;
  }
  return count;
}

const FORWARDING_HEADERS = ['forwarded', 'x-forwarded-for', 'x-real-ip', 'via'];
const PROXY_WARNING_EVERY_MS = 3_600_000;

/**
 * Warns, once an hour at the most, when a proxy forwards requests to a listener that believes everybody: whoever reaches the
 * proxy can then claim as anybody, unless the proxy sets X-User-Id itself.
 */
function noticeProxies(log: Log): (request: IncomingMessage) => void {
  let silentUntil = -Infinity;
  return ({ headers }) => {
    const header = FORWARDING_HEADERS.find((name) => headers[name] !== undefined);
    if (header === undefined || performance.now() < silentUntil) return;
    silentUntil = performance.now() + PROXY_WARNING_EVERY_MS;
    log.warn({ header }, 'requests come through a proxy, and GATEWAY_TOKEN is unset: set it here and in the proxy');
  };
}
