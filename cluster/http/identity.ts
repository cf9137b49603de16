// Who asks: the user id of a request, from a trusted gateway's header or from a bearer token. Nothing else of the
// service decides who somebody is, and nothing behind this door sees a header or a token.
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { createRemoteJWKSet, errors, jwtVerify } from 'jose';
import type { JWTVerifyGetKey, JWTVerifyOptions } from 'jose';
import { isUserId } from '../../coupons/ids.js';
import type { ErrorCode } from '../../platform/errors.js';
import type { Log } from '../../platform/log.js';
import type { Settings } from '../../platform/settings.js';
import { bearerToken, createSecretTest } from './secrets.js';

export interface Refusal {
  readonly code: ErrorCode;
  readonly detail?: string;
  /** The `WWW-Authenticate` header of a 401. */
  readonly challenge?: string;
}

/** The user id, or why there is none. Never rejects; `trusted` mode answers without a promise, for the hot path's sake. */
export type Identify = (request: IncomingMessage) => string | Refusal | Promise<string | Refusal>;

/** Clocks of issuer and service may differ by this much. */
const CLOCK_TOLERANCE_S = 5;
/** One fetch of the key set. Claims wait for it when the first token arrives or a new key appears. */
const JWKS_TIMEOUT_MS = 3_000;
/** Tokens with unknown key ids make the key set be fetched again no more often than this. */
const JWKS_COOLDOWN_MS = 30_000;
/** A key that its issuer withdrew is trusted no longer than this. */
const JWKS_CACHE_MS = 600_000;
const PUBLIC_KEY_ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'];

export function createIdentify(settings: Settings, log: Log): Identify {
  return settings.authMode === 'jwt' ? identifyByToken(settings, log) : identifyByGateway(settings.gatewayToken);
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

function identifyByGateway(gatewayToken: string | undefined): Identify {
  const admit = admitGateway(gatewayToken);
  return (request) => {
    const refusal = admit(request);
    if (refusal !== undefined) return refusal;
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

const NO_TOKEN: Refusal = {
  code: 'unauthenticated',
  detail: 'There is no bearer token.',
  challenge: 'Bearer realm="stampede"',
};
const KEYS_AWAY: Refusal = { code: 'unavailable', detail: 'The keys to check tokens with cannot be fetched now.' };

function identifyByToken(settings: Settings, log: Log): Identify {
  const verify = createVerify(settings);
  let keysAway = false;
  return async ({ headers }) => {
    const token = bearerToken(headers.authorization);
    if (token === undefined) return NO_TOKEN;
    try {
      const subject = await verify(token);
      keysAway = false;
      if (typeof subject === 'string' && isUserId(subject)) return subject;
      return badToken('its "sub" is no user id');
    } catch (error) {
      if (isFaultOfToken(error)) return badToken(error.message);
      // One line per outage, not one per request.
      if (!keysAway) log.warn({ err: error }, 'the keys to check tokens with cannot be fetched');
      keysAway = true;
      return KEYS_AWAY;
    }
  };
}

function badToken(reason: string): Refusal {
  return {
    code: 'unauthenticated',
    detail: `The bearer token is not valid: ${reason}.`,
    challenge: 'Bearer realm="stampede", error="invalid_token"',
  };
}

/** The `sub` of a token whose signature, `exp`, `nbf`, and `iss` and `aud` where configured, hold. */
function createVerify(settings: Settings): (token: string) => Promise<unknown> {
  const claims: JWTVerifyOptions = {
    clockTolerance: CLOCK_TOLERANCE_S,
    requiredClaims: ['sub'],
    ...(settings.jwtIssuer !== undefined && { issuer: settings.jwtIssuer }),
    ...(settings.jwtAudience !== undefined && { audience: settings.jwtAudience }),
  };
  if (settings.jwtSecret !== undefined) {
    // Only this algorithm for a shared key, and never it for public ones: a public key must not pass as a shared one.
    const key = new TextEncoder().encode(settings.jwtSecret);
    const options = { ...claims, algorithms: ['HS256'] };
    return async (token) => (await jwtVerify(token, key, options)).payload.sub;
  }
  const keys = remoteKeys(settings);
  const options = { ...claims, algorithms: PUBLIC_KEY_ALGORITHMS };
  return async (token) => (await jwtVerify(token, keys, options)).payload.sub;
}

function remoteKeys({ jwtJwksUrl }: Settings): JWTVerifyGetKey {
  if (jwtJwksUrl === undefined) throw new TypeError('jwt mode without a key: settings were not checked');
  return createRemoteJWKSet(new URL(jwtJwksUrl), {
    timeoutDuration: JWKS_TIMEOUT_MS,
    cooldownDuration: JWKS_COOLDOWN_MS,
    cacheMaxAge: JWKS_CACHE_MS,
  });
}

/** False for what goes wrong on the way to the key set: that is nobody's token's fault. */
function isFaultOfToken(error: unknown): error is Error {
  return (
    error instanceof errors.JOSEError &&
    !(error instanceof errors.JWKSTimeout) &&
    !(error instanceof errors.JWKSInvalid) &&
    // The class itself: an answer of the key server that is not 200 or no JSON.
    error.code !== errors.JOSEError.code
  );
}
