// The load generator, a process of its own so that its CPU time is nobody else's: keep-alive connections to one server on
// loopback, opened before the clock runs. Does one job after another, each bounded in requests and time; ends when the
// benchmark does.
import { once } from 'node:events';
import { SignJWT } from 'jose';
import { Client } from 'undici';
import type { Answer } from './claim-request.js';
import { openConnection, sendPost, textOf } from './claim-request.js';
import type { FromLoad, LoadJob, LoadResult, ToLoad } from './load-job.js';
import { percentileOf } from './statistics.js';

/** Well beyond the time in which the service answers every claim. */
const REQUEST_TIMEOUT_MS = 40_000;
/** After this no further request is sent. */
const JOB_TIMEOUT_MS = 120_000;

process.on('disconnect', () => process.exit());

interface Batch {
  readonly claims: readonly { readonly status: string; readonly code?: string }[];
}

class Load {
  readonly #job: LoadJob;
  readonly #answers: Record<string, number> = {};
  readonly #failures: Record<string, number> = {};
  readonly #latencies: Float64Array;
  readonly #tokens = new Map<string, string>();
  #clients: readonly Client[] = [];
  #sent = 0;
  #answered = 0;
  #requestsAnswered = 0;

  constructor(job: LoadJob) {
    this.#job = job;
    this.#latencies = new Float64Array(Math.ceil(job.requests / (job.batch ?? 1)));
  }

  /** One request on each connection opens it. */
  async connect(): Promise<void> {
    const { url, connections } = this.#job;
    const options = { pipelining: 1, headersTimeout: REQUEST_TIMEOUT_MS, bodyTimeout: REQUEST_TIMEOUT_MS };
    const count = Math.min(connections, this.#latencies.length);
    this.#clients = Array.from({ length: count }, () => new Client(url, options));
    await Promise.all(this.#clients.map(openConnection));
    await this.#signTokens();
  }

  /** Before the clock runs: a token takes as much time to sign as a claim to answer. */
  async #signTokens(): Promise<void> {
    const { identity, requests, userPrefix, firstUser = 0 } = this.#job;
    if (identity === undefined || !('jwtSecret' in identity)) return;
    const key = Buffer.from(identity.jwtSecret);
    const sign = async (userId: string): Promise<void> => {
      const token = new SignJWT({ sub: userId }).setProtectedHeader({ alg: 'HS256' }).setExpirationTime('1h');
      this.#tokens.set(userId, await token.sign(key));
    };
    await Promise.all(Array.from({ length: requests }, (_, i) => sign(`${userPrefix}${firstUser + i}`)));
  }

  async run(): Promise<LoadResult> {
    const startedAt = performance.now();
    const askOneByOne = async (client: Client): Promise<void> => {
      while (this.#sent < this.#job.requests && performance.now() - startedAt < JOB_TIMEOUT_MS) await this.#ask(client);
    };
    await Promise.all(this.#clients.map(askOneByOne));
    const durationMs = performance.now() - startedAt;
    await Promise.all(this.#clients.map((client) => client.close()));
    const sorted = this.#latencies.subarray(0, this.#requestsAnswered).sort();
    const at = (share: number): number => (sorted.length === 0 ? 0 : percentileOf(sorted, share));
    return {
      answers: this.#answers,
      unanswered: this.#job.requests - this.#answered,
      failures: this.#failures,
      durationMs,
      latencyMs: { p50: at(0.5), p99: at(0.99) },
    };
  }

  async #ask(client: Client): Promise<void> {
    const { batch, requests } = this.#job;
    const claims = Math.min(batch ?? 1, requests - this.#sent);
    const askedAt = performance.now();
    const answer = await (batch === undefined ? this.#claim(client) : this.#claimAll(client, claims));
    if (answer === undefined) return;
    this.#latencies[this.#requestsAnswered++] = performance.now() - askedAt;
    this.#answered += claims;
    if (batch === undefined || answer.status !== 200) {
      this.#count(textOf(answer), claims);
    } else {
      for (const { status, code } of (JSON.parse(answer.body) as Batch).claims) this.#count(`200 ${code ?? status}`, 1);
    }
  }

  #count(answer: string, claims: number): void {
    this.#answers[answer] = (this.#answers[answer] ?? 0) + claims;
  }

  async #claim(client: Client): Promise<Answer | undefined> {
    const path = `/v1/coupons/${this.#couponId()}/claims`;
    return await this.#send(client, path, this.#identify(this.#nextUser()));
  }

  #identify(userId: string): Record<string, string> {
    const { identity } = this.#job;
    if (identity === undefined) return { 'x-user-id': userId };
    if ('gatewayToken' in identity) return { 'x-user-id': userId, 'x-gateway-token': identity.gatewayToken };
    return { authorization: `Bearer ${this.#tokens.get(userId) ?? ''}` };
  }

  async #claimAll(client: Client, claims: number): Promise<Answer | undefined> {
    const path = `/v1/coupons/${this.#couponId()}/claims:batch`;
    const users = Array.from({ length: claims }, () => this.#nextUser());
    return await this.#send(client, path, { 'content-type': 'application/json' }, JSON.stringify({ users }));
  }

  #couponId(): string {
    const { couponId, coupons = 1 } = this.#job;
    return coupons === 1 ? couponId : `${couponId}-${this.#sent % coupons}`;
  }

  #nextUser(): string {
    const { userPrefix, firstUser = 0 } = this.#job;
    return `${userPrefix}${firstUser + this.#sent++}`;
  }

  /** Undefined when there was no answer. */
  #send(client: Client, path: string, headers: Record<string, string>, json?: string): Promise<Answer | undefined> {
    return new Promise((resolve) => {
      sendPost(client, { path, headers, json }, (answer) => {
        if (!(answer instanceof Error)) {
          resolve(answer);
          return;
        }
        const code = (answer as NodeJS.ErrnoException).code ?? answer.name;
        this.#failures[code] = (this.#failures[code] ?? 0) + 1;
        resolve(undefined);
      });
    });
  }
}

async function receive<K extends ToLoad['kind']>(kind: K): Promise<Extract<ToLoad, { kind: K }>> {
  const [message] = (await once(process, 'message')) as [ToLoad];
  if (message.kind !== kind) throw new Error(`expected ${kind}, got ${message.kind}`);
  return message as Extract<ToLoad, { kind: K }>;
}

function send(message: FromLoad): void {
  process.send?.(message);
}

for (;;) {
  const load = new Load(await receive('connect'));
  await load.connect();
  send({ kind: 'connected' });
  await receive('go');
  send({ kind: 'done', ...(await load.run()) });
}
