// The users of the clean run, one phase after the other: bursts, quiet, steady traffic, clients that come, are slow, or go.
// Each phase is bounded in time and connections, and leaves nothing of its own open. Errors of single requests are counted:
// a reload may close a connection that is just being used.
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Pool } from 'undici';
import type { Service } from '../service.js';

/** Has units for everybody, all the time. */
export const PLENTY = 'plenty';
export const PLENTY_UNITS = 10_000_000;
/** Of the coupon that each round sells out. */
const FEW_UNITS = 300;

const KEPT_CONNECTIONS = 64;
const REQUEST_TIMEOUT_MS = 40_000;
const BURST_CLAIMS = 4_000;
const STEADY_CLAIMS_PER_SECOND = 50;
const SLOW_CLIENTS = 40;
const SLOW_BYTE_EVERY_MS = 400;
const RISING_CLIENTS = 100;
const RISING_EVERY_MS = 600;
const LEAVING_CLIENTS_PER_SECOND = 20;

/** ms that a phase lasts, unless it ends by its work. */
const PHASE_MS = 30_000;
const RISE_MS = RISING_CLIENTS * RISING_EVERY_MS;

interface Phase {
  readonly name: string;
  readonly run: (users: Users) => Promise<void>;
}

export const PHASES: readonly Phase[] = [
  { name: 'steady claims', run: async (users) => users.steady(PHASE_MS) },
  { name: 'a burst', run: async (users) => users.claims(PLENTY, BURST_CLAIMS) },
  { name: 'quiet', run: async (users) => users.pause(PHASE_MS) },
  { name: 'a coupon sells out, and is asked for again', run: async (users) => users.sellOut() },
  { name: 'claims that are returned', run: async (users) => users.returns(PHASE_MS) },
  { name: 'a connection for each request', run: async (users) => users.freshConnections(PHASE_MS) },
  { name: 'slow clients', run: async (users) => users.slowClients(PHASE_MS) },
  { name: 'clients that go before the answer', run: async (users) => users.leavingClients(PHASE_MS) },
  { name: 'more and more connections', run: async (users) => users.rising() },
  { name: 'a rolling reload', run: async (users) => users.reload(PHASE_MS) },
  { name: 'operators', run: async (users) => users.operators(PHASE_MS) },
];

export class Users {
  readonly #service: Service;
  readonly #pool: Pool;
  readonly #over: AbortSignal;
  readonly #answers = new Map<string, number>();
  #round = 0;
  #last = 0;

  constructor(service: Service, over: AbortSignal) {
    const timeouts = { headersTimeout: REQUEST_TIMEOUT_MS, bodyTimeout: REQUEST_TIMEOUT_MS };
    this.#service = service;
    this.#pool = new Pool(service.url, { connections: KEPT_CONNECTIONS, ...timeouts });
    this.#over = over;
  }

  /** How often each status was heard, and `none`: the connection broke. `admin`: of operators, that were served. */
  get answers(): ReadonlyMap<string, number> {
    return this.#answers;
  }

  /** Phase after phase until the time is over; `begin` is told each. */
  async live(begin: (phase: string) => void): Promise<void> {
    for (let turn = 0; !this.#over.aborted; turn++) {
      const phase = PHASES[turn % PHASES.length];
      if (phase === undefined) throw new Error('there are phases');
      this.#round = Math.floor(turn / PHASES.length);
      begin(phase.name);
      await phase.run(this);
    }
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }

  async pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#over }).catch(() => undefined);
  }

  /** As fast as it goes, over the kept connections. */
  async claims(couponId: string, count: number): Promise<void> {
    let left = count;
    await Promise.all(
      Array.from({ length: KEPT_CONNECTIONS }, async () => {
        while (left-- > 0 && !this.#over.aborted) await this.#claim(couponId, this.#nobodyYet());
      }),
    );
  }

  async steady(ms: number): Promise<void> {
    await this.#atRate(STEADY_CLAIMS_PER_SECOND, ms, async () => this.#claim(PLENTY, this.#nobodyYet()));
  }

  /** Three ask for each unit; afterwards everybody asks again. */
  async sellOut(): Promise<void> {
    const couponId = `few-${this.#round}`;
    await this.#service.createCoupon(couponId, FEW_UNITS);
    const users = Array.from({ length: 3 * FEW_UNITS }, () => this.#nobodyYet());
    for (let time = 0; time < 3; time++) await Promise.all(users.map(async (user) => this.#claim(couponId, user)));
  }

  async returns(ms: number): Promise<void> {
    await this.#atRate(STEADY_CLAIMS_PER_SECOND / 2, ms, async () => {
      const user = this.#nobodyYet();
      await this.#claim(PLENTY, user);
      await this.#send('DELETE', `/v1/coupons/${PLENTY}/claims/me`, user);
    });
  }

  async freshConnections(ms: number): Promise<void> {
    await this.#atRate(STEADY_CLAIMS_PER_SECOND, ms, async () => this.#claimAlone(this.#nobodyYet()));
  }

  /** A third never finishes its head, a third sends it byte by byte, a third only keeps its connection. */
  async slowClients(ms: number): Promise<void> {
    const head = `POST /v1/coupons/${PLENTY}/claims HTTP/1.1\r\nHost: a\r\nX-User-Id: slow\r\nContent-Length: 0\r\n\r\n`;
    const sockets = Array.from({ length: SLOW_CLIENTS }, () => this.#connect());
    sockets.forEach((socket, index) => {
      if (index % 3 === 0) socket.write(head.slice(0, -20));
      if (index % 3 === 1) socket.write('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n');
    });
    let sent = 0;
    const dribbling = setInterval(() => {
      const byte = head[sent++ % head.length] ?? '';
      for (const socket of sockets.filter((_, index) => index % 3 === 2)) if (socket.writable) socket.write(byte);
    }, SLOW_BYTE_EVERY_MS);
    await this.steady(ms);
    clearInterval(dribbling);
    for (const socket of sockets) socket.destroy();
  }

  async leavingClients(ms: number): Promise<void> {
    await this.#atRate(LEAVING_CLIENTS_PER_SECOND, ms, async () => {
      const socket = this.#connect();
      const head = `POST /v1/coupons/${PLENTY}/claims HTTP/1.1\r\nHost: a\r\nX-User-Id: ${this.#nobodyYet()}\r\n\r\n`;
      socket.write(head, () => socket.destroy());
      await once(socket, 'close');
    });
  }

  /** Clients that stay, one more each time, each asking once when it comes; all go at the end. */
  async rising(): Promise<void> {
    const sockets: Socket[] = [];
    const coming = setInterval(() => {
      const socket = this.#connect();
      socket.write(`GET /v1/coupons/${PLENTY} HTTP/1.1\r\nHost: a\r\n\r\n`);
      sockets.push(socket);
    }, RISING_EVERY_MS);
    await this.steady(RISE_MS);
    clearInterval(coming);
    for (const socket of sockets) socket.destroy();
  }

  /** As a deploy does it. */
  async reload(ms: number): Promise<void> {
    this.#service.reload();
    await this.steady(ms);
  }

  /** Somebody watches: metrics, pages, lists, pause and resume. */
  async operators(ms: number): Promise<void> {
    await this.#atRate(2, ms, async () => {
      for (const path of ['/metrics', `/v1/coupons/${PLENTY}`, `/v1/coupons/${PLENTY}/claims?limit=100`, '/debug']) {
        await this.#operate('GET', path);
      }
    });
    await this.#operate('POST', `/v1/coupons/${PLENTY}/pause`);
    await this.#operate('POST', `/v1/coupons/${PLENTY}/resume`);
  }

  async #operate(method: 'GET' | 'POST', path: string): Promise<void> {
    await this.#service.admin(method, path).then(
      () => this.#count('admin'),
      () => this.#count('admin none'),
    );
  }

  /** Starts `work` so often a second, however long each takes; waits for the last ones. */
  async #atRate(perSecond: number, ms: number, work: () => Promise<void>): Promise<void> {
    const endsAt = performance.now() + ms;
    const under = new Set<Promise<void>>();
    while (performance.now() < endsAt && !this.#over.aborted) {
      // A service that answers late is not asked faster than it answers.
      if (under.size < KEPT_CONNECTIONS) {
        const one: Promise<void> = work().finally(() => under.delete(one));
        under.add(one);
      }
      await this.pause(1_000 / perSecond);
    }
    await Promise.all(under);
  }

  async #claim(couponId: string, userId: string): Promise<void> {
    await this.#send('POST', `/v1/coupons/${couponId}/claims`, userId);
  }

  async #send(method: 'POST' | 'DELETE', path: string, userId: string): Promise<void> {
    try {
      const { statusCode, body } = await this.#pool.request({ method, path, headers: { 'x-user-id': userId } });
      await body.dump();
      this.#count(String(statusCode));
    } catch {
      this.#count('none');
    }
  }

  async #claimAlone(userId: string): Promise<void> {
    const url = `${this.#service.url}/v1/coupons/${PLENTY}/claims`;
    await new Promise<void>((resolve) => {
      const done = (answer: string): void => {
        this.#count(answer);
        resolve();
      };
      const sent = request(url, { method: 'POST', agent: false, headers: { 'x-user-id': userId } });
      sent.setTimeout(REQUEST_TIMEOUT_MS, () => sent.destroy());
      sent.once('response', (response) => response.resume().once('close', () => done(String(response.statusCode))));
      sent.once('error', () => done('none'));
      sent.end();
    });
  }

  #connect(): Socket {
    const { port, hostname } = new URL(this.#service.url);
    return connect(Number(port), hostname)
      .on('error', () => undefined)
      .resume();
  }

  #count(answer: string): void {
    this.#answers.set(answer, (this.#answers.get(answer) ?? 0) + 1);
  }

  #nobodyYet(): string {
    return `user-${this.#last++}`;
  }
}
