// How often one address and one user may ask, counted in this process alone and off unless configured
// (docs/decisions/0008-rate-limits-count-in-the-worker.md). Hooks in front of the routes; the routes know nothing of it.
//
// A window is a Map of counts that is thrown away as a whole when its minute is over: nothing expires by itself, and
// nobody's count can be pushed out by others.
import { isIPv6 } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Settings } from '../../platform/settings.js';
import type { ApiInstance } from './api-server.js';
import type { Identify } from './identity.js';
import { sendProblem } from './problems.js';

const WINDOW_MS = 60_000;
/** Of one window, some 30 MB at the most. Who comes after so many others is not counted. */
const KEYS_MAX = 200_000;

export interface RateLimiterOptions {
  /** As the headers call the policy. */
  readonly name: string;
  readonly requestsMax: number;
}

export interface Taken {
  readonly allowed: boolean;
  /** Seconds until the count begins anew, at least 1. */
  readonly resetSeconds: number;
  /** A member of the list in the `RateLimit` header. */
  readonly standing: string;
}

export class RateLimiter {
  readonly #name: string;
  readonly #requestsMax: number;
  #counts = new Map<string, number>();
  #windowEndsAt = 0;

  constructor({ name, requestsMax }: RateLimiterOptions) {
    this.#name = name;
    this.#requestsMax = requestsMax;
  }

  /** A member of the list in the `RateLimit-Policy` header. */
  get policy(): string {
    return `"${this.#name}";q=${this.#requestsMax};w=${WINDOW_MS / 1_000}`;
  }

  /** Whose requests are counted now. */
  get keys(): number {
    return this.#counts.size;
  }

  /** Counts one request of `key`. */
  take(key: string): Taken {
    const now = performance.now();
    if (now >= this.#windowEndsAt) {
      this.#counts = new Map();
      this.#windowEndsAt = now + WINDOW_MS;
    }
    const count = (this.#counts.get(key) ?? 0) + 1;
    if (count > 1 || this.#counts.size < KEYS_MAX) this.#counts.set(key, count);
    // In whole milliseconds: now + 60,000 − now is a little more than 60,000 for every tenth moment or so.
    const resetSeconds = Math.max(1, Math.ceil(Math.round(this.#windowEndsAt - now) / 1_000));
    return {
      allowed: count <= this.#requestsMax,
      resetSeconds,
      standing: `"${this.#name}";r=${Math.max(0, this.#requestsMax - count)};t=${resetSeconds}`,
    };
  }
}

/** Adds what is configured to every route below `/v1`; without limits the routes stay as they are. */
export function limitRates(
  app: ApiInstance,
  { addressRateLimit, userRateLimit }: Pick<Settings, 'addressRateLimit' | 'userRateLimit'>,
  identify: Identify,
): void {
  if (addressRateLimit > 0) {
    const limiter = new RateLimiter({ name: 'address', requestsMax: addressRateLimit });
    // First of all: whoever guesses tokens is counted, too.
    app.addHook('onRequest', (request, reply, done) => {
      if (!isLimited(request) || admit(limiter, networkOf(request.ip), reply)) done();
    });
  }
  if (userRateLimit > 0) {
    const limiter = new RateLimiter({ name: 'user', requestsMax: userRateLimit });
    app.addHook('preHandler', async (request, reply) => {
      if (!isLimited(request)) return;
      const userId = await identify(request.raw);
      // Who cannot say who it is hears that from the route.
      if (typeof userId !== 'string' || admit(limiter, userId, reply)) return;
      return reply;
    });
  }
}

function isLimited({ routeOptions }: FastifyRequest): boolean {
  return routeOptions.url?.startsWith('/v1/') === true;
}

/** False when it has answered the request itself. */
function admit(limiter: RateLimiter, key: string, reply: FastifyReply): boolean {
  const { allowed, standing, resetSeconds } = limiter.take(key);
  append(reply, 'ratelimit-policy', limiter.policy);
  append(reply, 'ratelimit', standing);
  if (allowed) return true;
  reply.header('retry-after', resetSeconds);
  sendProblem(reply, 'rate_limited');
  return false;
}

function append(reply: FastifyReply, header: string, member: string): void {
  const before = reply.getHeader(header);
  reply.header(header, before === undefined ? member : `${String(before)}, ${member}`);
}

/** The address, or for IPv6 the /64 network, all of whose addresses one customer has. */
export function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const [head = '', tail] = address.split('%', 1)[0]?.toLowerCase().split('::') ?? [];
  const groups = (text: string | undefined): string[] => (text === undefined || text === '' ? [] : text.split(':'));
  const known = groups(head);
  const zeros = tail === undefined ? 0 : 8 - known.length - groups(tail).length;
  const all = [...known, ...Array.from({ length: zeros }, () => '0'), ...groups(tail)];
  return `${all
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}
