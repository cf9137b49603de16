// Bearer tokens that were found good a moment ago, so that a user who asks again is not verified again. Holds digests, not
// tokens: a heap snapshot of this process shows nobody's token. Only good tokens get in, so nobody can fill it with rubbish.
import { hash } from 'node:crypto';

export interface VerifiedTokensLimits {
  /** Tokens remembered; the oldest goes first. Each takes some 200 bytes. */
  readonly countMax: number;
  /** A token is verified again after this long, so that a withdrawn key stops counting soon. */
  readonly lifetimeMs: number;
}

export class VerifiedTokens {
  readonly #limits: VerifiedTokensLimits;
  readonly #known = new Map<string, { readonly userId: string; readonly until: number }>();

  constructor(limits: VerifiedTokensLimits) {
    this.#limits = limits;
  }

  /** Tokens remembered now. */
  get count(): number {
    return this.#known.size;
  }

  /** The user of a token that is still good; undefined: verify it. */
  userOf(token: string): string | undefined {
    const digest = digestOf(token);
    const known = this.#known.get(digest);
    if (known === undefined) return undefined;
    if (known.until > Date.now()) return known.userId;
    this.#known.delete(digest);
    return undefined;
  }

  /** `expiresAt`: the token's `exp` in epoch milliseconds, if it has one; it is never remembered beyond that. */
  remember(token: string, userId: string, expiresAt: number | undefined): void {
    const until = Math.min(expiresAt ?? Infinity, Date.now() + this.#limits.lifetimeMs);
    if (until <= Date.now()) return;
    const digest = digestOf(token);
    // Anew, not in place: the order of a Map is that of its insertions.
    this.#known.delete(digest);
    this.#known.set(digest, { userId, until });
    if (this.#known.size <= this.#limits.countMax) return;
    const [oldest] = this.#known.keys();
    if (oldest !== undefined) this.#known.delete(oldest);
  }
}

function digestOf(token: string): string {
  return hash('sha256', token, 'base64');
}
