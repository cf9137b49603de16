// Comparing what a client presents with a secret, without telling by time how much of it was right.
import { timingSafeEqual } from 'node:crypto';

/**
 * A test for one secret, for every request: as much of what is presented as the secret is long is copied and compared, whatever was
 * presented, and only then its length. (Digests of both would cost four times as much.)
 */
export function createSecretTest(secret: string): (presented: string) => boolean {
  const expected = Buffer.from(secret);
  const start = Buffer.alloc(expected.length);
  return (presented) => {
    start.fill(0);
    // A character that does not fit is left out.
    const isFull = start.write(presented) === expected.length;
    return timingSafeEqual(start, expected) && isFull && presented.length === secret.length;
  };
}

/** Any visible ASCII: the tokens of operators are free to hold what the base64url of a JWT does not. */
const BEARER = /^Bearer +([\x21-\x7e]+)$/i;

/** The token of an `Authorization: Bearer` header, undefined when there is none. */
export function bearerToken(authorization: string | undefined): string | undefined {
  return authorization === undefined ? undefined : BEARER.exec(authorization)?.[1];
}
