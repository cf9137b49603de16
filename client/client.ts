// A client of the public API, for servers and for anything else that has `fetch`. Depends on nothing, repeats what may be
// repeated, ends every call in bounded time. docs/client.md shows how to use it.
import { BUSY_CODES, REFUSAL_CODES } from './answers.js';
import type { BatchAnswer, BusyCode, ClaimAnswer, Coupon, Granted, RefusalCode, Refused, Returned } from './answers.js';
import { StampedeClientError } from './errors.js';
import { retryAfterMs, withRetries } from './retry.js';
import type { Attempt, RetryLimits } from './retry.js';

export { StampedeClientError } from './errors.js';
export type * from './answers.js';

export interface ClientOptions extends Partial<RetryLimits> {
  /** Of the public API, e.g. `https://claims.example`. */
  readonly baseUrl: string;
  /** `GATEWAY_TOKEN` of the service, for servers that speak for any user (AUTH_MODE=trusted). */
  readonly gatewayToken?: string;
}

/** Who asks: a user id, for servers that speak for any user, or the user's own bearer token. */
export type User = string | { readonly token: string };

export interface CallOptions {
  /** Ends the call; its promise then rejects with the signal's reason. A claim may have been granted nevertheless. */
  readonly signal?: AbortSignal;
}

const LIMITS: RetryLimits = { attemptsMax: 5, attemptTimeoutMs: 5_000, timeoutMs: 20_000 };
/** Users of one request, by the service's own limit. */
const BATCH_USERS_MAX = 1_000;

/** Statuses with which whoever stands between here and the service says that it cannot reach it. */
const GATEWAY_STATUSES: ReadonlySet<number> = new Set([502, 503, 504]);

interface Problem {
  readonly code: string;
  readonly title?: string;
  readonly detail?: string;
  readonly opensAt?: string;
  readonly returnedAt?: string;
}

interface Ask {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly user?: User;
  readonly body?: unknown;
  readonly signal: AbortSignal | undefined;
}

export class StampedeClient {
  readonly #baseUrl: string;
  readonly #gatewayToken: string | undefined;
  readonly #limits: RetryLimits;

  /** @throws TypeError when `baseUrl` is no http or https URL. */
  constructor({ baseUrl, gatewayToken, ...limits }: ClientOptions) {
    if (!/^https?:$/.test(new URL(baseUrl).protocol)) throw new TypeError('baseUrl must begin with http: or https:');
    this.#baseUrl = baseUrl.replace(/\/+$/, '');
    this.#gatewayToken = gatewayToken;
    this.#limits = { ...LIMITS, ...limits };
  }

  /** Claims one unit. Rejects with `StampedeClientError` when there is no decision; look at its `mayBeGranted`. */
  async claim(couponId: string, user: User, { signal }: CallOptions = {}): Promise<ClaimAnswer> {
    return this.#ask<Granted>({ method: 'POST', path: `${pathOf(couponId)}/claims`, user, signal });
  }

  /**
   * Claims for many users, in requests of up to 1,000, and again for those about whom the service could not decide. One
   * answer for each user, in their order. Rejects only when the service refuses to be asked at all (a wrong token, say).
   */
  async claimAll(couponId: string, userIds: readonly string[], { signal }: CallOptions = {}): Promise<BatchAnswer[]> {
    const answers: BatchAnswer[] = [];
    for (let from = 0; from < userIds.length; from += BATCH_USERS_MAX) {
      answers.push(...(await this.#claimBatch(couponId, userIds.slice(from, from + BATCH_USERS_MAX), signal)));
    }
    return answers;
  }

  /** The receipt of a claim, or undefined when the user has none. */
  async receipt(couponId: string, user: User, { signal }: CallOptions = {}): Promise<Granted | Refused | undefined> {
    const ask = { method: 'GET', path: `${pathOf(couponId)}/claims/me`, user, signal } as const;
    return await this.#ask<Granted>(ask).catch(undefinedFor('not_claimed'));
  }

  /** Gives the claim back, for good; undefined when the user has none. Rejects with `not_returnable` where it may not. */
  async giveBack(couponId: string, user: User, { signal }: CallOptions = {}): Promise<Returned | Refused | undefined> {
    const ask = { method: 'DELETE', path: `${pathOf(couponId)}/claims/me`, user, signal } as const;
    return await this.#ask<Returned>(ask).catch(undefinedFor('not_claimed'));
  }

  /** What is left of a coupon; undefined when there is none of this id. */
  async coupon(couponId: string, { signal }: CallOptions = {}): Promise<Coupon | undefined> {
    const answer = await this.#ask<Coupon>({ method: 'GET', path: pathOf(couponId), signal });
    return 'code' in answer ? undefined : answer;
  }

  async #claimBatch(
    couponId: string,
    userIds: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<BatchAnswer[]> {
    const answers = new Array<BatchAnswer>(userIds.length);
    let open = userIds.map((_userId, i) => i);
    const round = async (attemptSignal: AbortSignal): Promise<Attempt<void>> => {
      const users = open.map((i) => userIds[i] ?? '');
      const ask = { method: 'POST', path: `${pathOf(couponId)}/claims:batch`, body: { users }, signal } as const;
      const outcome = await this.#attempt<{ claims: BatchAnswer[] }>(ask, attemptSignal);
      if (!('done' in outcome)) return outcome;
      if ('code' in outcome.done) throw new StampedeClientError(outcome.done.code, 'The batch was refused.');
      outcome.done.claims.forEach((answer, i) => (answers[open[i] ?? -1] = answer));
      open = open.filter((i) => isBusy(answers[i]));
      if (open.length === 0) return { done: undefined };
      return { error: new StampedeClientError('unavailable', 'Some claims are undecided.'), retryAfterMs: 1_000 };
    };
    try {
      await withRetries(round, this.#limits, signal);
    } catch (error) {
      if (!(error instanceof StampedeClientError) || !isTemporary(error)) throw error;
      // Whoever was answered keeps the answer; of the others nobody knows more than the last attempt said.
      const code: BusyCode = error.mayBeGranted ? 'outcome_unknown' : 'unavailable';
      for (const i of open) answers[i] ??= { status: 'refused', couponId, userId: userIds[i] ?? '', code };
    }
    return answers;
  }

  async #ask<T extends object>(ask: Ask): Promise<T | Refused> {
    return await withRetries((signal) => this.#attempt<T>(ask, signal), this.#limits, ask.signal);
  }

  /** One request. Resolves with the answer, the coupon's refusal, or a reason to try again; rejects when that is useless. */
  async #attempt<T extends object>(
    { method, path, user, body: sent }: Ask,
    signal: AbortSignal,
  ): Promise<Attempt<T | Refused>> {
    const response = await fetch(this.#baseUrl + path, {
      method,
      headers: this.#headers(user, sent !== undefined),
      ...(sent !== undefined && { body: JSON.stringify(sent) }),
      // A token goes to nobody else.
      redirect: 'error',
      signal,
    });
    const text = await response.text();
    const body = parse(text);
    if (response.ok) return { done: (body as T | undefined) ?? notStampede(response) };
    const problem = body as Partial<Problem> | undefined;
    const afterMs = retryAfterMs(response.headers.get('retry-after'));
    if (typeof problem?.code !== 'string') {
      if (!GATEWAY_STATUSES.has(response.status)) notStampede(response);
      const error = new StampedeClientError('unavailable', `A gateway answered ${response.status}.`, {
        status: response.status,
        mayBeGranted: true,
      });
      return { error, retryAfterMs: afterMs };
    }
    const { code, detail, title = code } = problem;
    if (REFUSAL_CODES.has(code)) return { done: refusal(path, { ...problem, code }) };
    const error = new StampedeClientError(code, detail ?? title, {
      status: response.status,
      requestId: response.headers.get('x-request-id') ?? undefined,
      mayBeGranted: code === 'outcome_unknown' || code === 'internal',
    });
    if (BUSY_CODES.has(code)) return { error, retryAfterMs: afterMs };
    throw error;
  }

  #headers(user: User | undefined, hasBody: boolean): Record<string, string> {
    return {
      accept: 'application/json',
      ...(hasBody && { 'content-type': 'application/json' }),
      ...(this.#gatewayToken !== undefined && { 'x-gateway-token': this.#gatewayToken }),
      ...(typeof user === 'string' && { 'x-user-id': headerOf(user) }),
      ...(typeof user === 'object' && { authorization: bearerOf(user.token) }),
    };
  }
}

function pathOf(couponId: string): string {
  return `/v1/coupons/${encodeURIComponent(couponId)}`;
}

/** Ids are 1 to 64 bytes; this many characters cannot be more. Control characters cannot travel in a header. */
// eslint-disable-next-line no-control-regex
const HEADER_USER_ID = /^[^\u0000-\u001f\u007f]{1,64}$/;
const HEADER_TOKEN = /^[\x21-\x7e]+$/;

/** The UTF-8 bytes of an id, one character each, as headers carry them. */
function headerOf(userId: string): string {
  // HTTP would cut spaces off at the ends, and it would be another user's id.
  if (!HEADER_USER_ID.test(userId) || userId.trim() !== userId) {
    throw new StampedeClientError(
      'invalid_user_id',
      'A user id in a header has 1 to 64 bytes, no control characters, and no white space at its ends.',
    );
  }
  return String.fromCharCode(...new TextEncoder().encode(userId));
}

function bearerOf(token: string): string {
  if (HEADER_TOKEN.test(token)) return `Bearer ${token}`;
  throw new StampedeClientError('unauthenticated', 'A token has visible ASCII characters only.');
}

function parse(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function notStampede({ status }: Response): never {
  throw new StampedeClientError('not_stampede', `An answer that is not the service's, with status ${status}.`, {
    status,
    mayBeGranted: true,
  });
}

function refusal(path: string, { code, opensAt, returnedAt }: Problem): Refused {
  return {
    status: 'refused',
    couponId: decodeURIComponent(path.split('/')[3] ?? ''),
    code: code as RefusalCode,
    ...(opensAt !== undefined && { opensAt }),
    ...(returnedAt !== undefined && { returnedAt }),
  };
}

function isBusy(answer: BatchAnswer | undefined): boolean {
  return answer?.status === 'refused' && BUSY_CODES.has(answer.code);
}

/** Whether a later attempt could have gone better. */
function isTemporary({ code }: StampedeClientError): boolean {
  return BUSY_CODES.has(code) || code === 'network' || code === 'timeout';
}

function undefinedFor(code: string): (error: unknown) => undefined {
  return (error) => {
    if (error instanceof StampedeClientError && error.code === code) return undefined;
    throw error;
  };
}
