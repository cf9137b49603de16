// The user of a bearer token (JWT): by a shared key, or by the public keys that an issuer publishes. The only room that
// knows about tokens; identity.ts chooses between this and the gateway's header.
import { createRemoteJWKSet, errors, jwtVerify } from 'jose';
import type { JWTPayload, JWTVerifyGetKey, JWTVerifyOptions } from 'jose';
import { isUserId } from '../../coupons/ids.js';
import type { Log } from '../../platform/log.js';
import type { Settings } from '../../platform/settings.js';
import type { Identify, Refusal } from './identity.js';
import { bearerToken } from './secrets.js';
import { VerifiedTokens } from './verified-tokens.js';

/** Clocks of issuer and service may differ by this much. */
const CLOCK_TOLERANCE_S = 5;
/** One fetch of the key set. Claims wait for it when the first token arrives or a new key appears. */
const JWKS_TIMEOUT_MS = 3_000;
/** Tokens with unknown key ids make the key set be fetched again no more often than this. */
const JWKS_COOLDOWN_MS = 30_000;
/** A key that its issuer withdrew is trusted no longer than this, and what was verified with it VERIFIED_FOR_MS longer. */
const JWKS_CACHE_MS = 600_000;
const PUBLIC_KEY_ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'];
/** Users of one process who are not verified again and again: 2 MB at the most. */
const VERIFIED_TOKENS_MAX = 10_000;
/** Together with JWKS_CACHE_MS: how long a withdrawn key is trusted. */
const VERIFIED_FOR_MS = 60_000;

const NO_TOKEN: Refusal = {
  code: 'unauthenticated',
  detail: 'There is no bearer token.',
  challenge: 'Bearer realm="stampede"',
};
const KEYS_AWAY: Refusal = { code: 'unavailable', detail: 'The keys to check tokens with cannot be fetched now.' };

/** Answers without a promise for a token that was verified a moment ago, for the hot path's sake. */
export function identifyByToken(settings: Settings, log: Log): Identify {
  const verify = createVerify(settings);
  const verified = new VerifiedTokens({ countMax: VERIFIED_TOKENS_MAX, lifetimeMs: VERIFIED_FOR_MS });
  let keysAway = false;
  return ({ headers }) => {
    const token = bearerToken(headers.authorization);
    if (token === undefined) return NO_TOKEN;
    return verified.userOf(token) ?? identify(token);
  };

  async function identify(token: string): Promise<string | Refusal> {
    try {
      const { sub, exp } = await verify(token);
      keysAway = false;
      if (typeof sub !== 'string' || !isUserId(sub)) return badToken('its "sub" is no user id');
      verified.remember(token, sub, exp === undefined ? undefined : exp * 1_000);
      return sub;
    } catch (error) {
      if (isFaultOfToken(error)) return badToken(error.message);
      // One line per outage, not one per request.
      if (!keysAway) log.warn({ err: error }, 'the keys to check tokens with cannot be fetched');
      keysAway = true;
      return KEYS_AWAY;
    }
  }
}

function badToken(reason: string): Refusal {
  return {
    code: 'unauthenticated',
    detail: `The bearer token is not valid: ${reason}.`,
    challenge: 'Bearer realm="stampede", error="invalid_token"',
  };
}

/** The claims of a token whose signature, `exp`, `nbf`, and `iss` and `aud` where configured, hold. */
function createVerify(settings: Settings): (token: string) => Promise<JWTPayload> {
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
    return async (token) => (await jwtVerify(token, key, options)).payload;
  }
  const keys = remoteKeys(settings);
  const options = { ...claims, algorithms: PUBLIC_KEY_ALGORITHMS };
  return async (token) => (await jwtVerify(token, keys, options)).payload;
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
