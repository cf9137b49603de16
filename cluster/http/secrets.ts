// Comparing what a client presents with a secret, without telling by time how much of it was right.
import { hash, timingSafeEqual } from 'node:crypto';

/** A test for one secret. The digests make both sides equally long, whatever was presented. */
export function createSecretTest(secret: string): (presented: string) => boolean {
  const expected = hash('sha256', secret, 'buffer');
  return (presented) => timingSafeEqual(hash('sha256', presented, 'buffer'), expected);
}

/** Any visible ASCII: the tokens of operators are free to hold what the base64url of a JWT does not. */
const BEARER = /^Bearer +([\x21-\x7e]+)$/i;

/** The token of an `Authorization: Bearer` header, undefined when there is none. */
export function bearerToken(authorization: string | undefined): string | undefined {
  return authorization === undefined ? undefined : BEARER.exec(authorization)?.[1];
}
