// A TCP proxy on loopback that can misbehave: it stands between one service instance and one database. Knows bytes and
// connections, no protocol: what a client sends is a request, what comes back a reply.
//
//   pass          bytes go through as they come.
//   cut-request   a connection that sends something is cut before the server sees it.
//   cut-reply     the server gets the request and does its work; the connection is cut when the reply comes.
//   delay         every chunk waits `delayMs` in each direction, in order.
//   hold          nothing moves in either direction until the mode changes; no connection is closed.
//   hold-reply    the server gets requests and does its work; its replies wait until the mode changes.
//   refuse        all connections are cut, and new ones at once.
import { once } from 'node:events';
import type { AddressInfo, Server, Socket } from 'node:net';
import { connect, createServer } from 'node:net';

export type ProxyMode = 'pass' | 'cut-request' | 'cut-reply' | 'delay' | 'hold' | 'hold-reply' | 'refuse';

/** Of the chunks in a cutting mode, so that some get through and connections that come back are used again. */
const CUT_SHARE = 0.2;

export class FaultProxy {
  readonly #server: Server;
  #targetPort: number;
  readonly #connections = new Set<Connection>();
  readonly #random: () => number;
  #mode: ProxyMode = 'pass';
  #delayMs = 0;
  /** Since the last `misbehave()`. */
  #hits = 0;

  private constructor(targetPort: number, random: () => number) {
    this.#targetPort = targetPort;
    this.#random = random;
    // Half open: one side may say its last word while bytes for it are still delayed.
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
  }

  /** Listens on a free port of 127.0.0.1 and passes on to `targetPort` there. */
  static async start(targetPort: number, random: () => number): Promise<FaultProxy> {
    const proxy = new FaultProxy(targetPort, random);
    proxy.#server.listen({ host: '127.0.0.1', port: 0 });
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Until the next call. `delayMs` is for `delay`. */
  misbehave(mode: Exclude<ProxyMode, 'pass'>, delayMs = 0): void {
    this.#mode = mode;
    this.#delayMs = delayMs;
    this.#hits = mode === 'refuse' || heldIn(mode).replies ? this.#connections.size : 0;
    for (const connection of this.#connections) {
      if (mode === 'refuse') connection.destroy();
      else connection.hold(heldIn(mode));
    }
  }

  /** How many connections were cut, refused or held since `misbehave()`; of `delay`, how many chunks waited. */
  behave(): number {
    this.#mode = 'pass';
    for (const connection of this.#connections) connection.hold(heldIn('pass'));
    return this.#hits;
  }

  /** Passes on to another port from now on; cuts the connections to the one before. */
  redirect(targetPort: number): void {
    this.#targetPort = targetPort;
    for (const connection of this.#connections) connection.destroy();
  }

  /** Cuts every connection and stops listening. */
  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const connection of this.#connections) connection.destroy();
    await closed;
  }

  #accept(client: Socket): void {
    if (this.#mode === 'refuse' || heldIn(this.#mode).replies) this.#hits++;
    if (this.#mode === 'refuse') {
      client.on('error', () => undefined).destroy();
      return;
    }
    const server = connect({ host: '127.0.0.1', port: this.#targetPort, allowHalfOpen: true });
    const connection = new Connection(client, server, {
      request: () => this.#fate('cut-request'),
      reply: () => this.#fate('cut-reply'),
    });
    this.#connections.add(connection);
    client.once('close', () => this.#connections.delete(connection));
    connection.hold(heldIn(this.#mode));
  }

  /** What becomes of one chunk: cut, or passed on after so many ms. */
  #fate(cutBy: ProxyMode): 'cut' | number {
    const isCut = this.#mode === cutBy && this.#random() < CUT_SHARE;
    if (isCut || this.#mode === 'delay') this.#hits++;
    if (isCut) return 'cut';
    return this.#mode === 'delay' ? this.#delayMs : 0;
  }
}

function heldIn(mode: ProxyMode): { requests: boolean; replies: boolean } {
  return { requests: mode === 'hold', replies: mode === 'hold' || mode === 'hold-reply' };
}

type Fate = () => 'cut' | number;

class Connection {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #directions: readonly Direction[];

  constructor(client: Socket, server: Socket, fates: { request: Fate; reply: Fate }) {
    this.#client = client;
    this.#server = server;
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      // The other side learns of it by the close; which error it was makes no difference. One that ends in peace is passed
      // on as an end, after whatever is still delayed.
      socket.on('error', () => undefined);
      socket.once('close', (hadError) => {
        if (hadError) this.destroy();
      });
    }
    this.#directions = [this.#pipe(client, server, fates.request), this.#pipe(server, client, fates.reply)];
  }

  hold(held: { readonly requests: boolean; readonly replies: boolean }): void {
    if (held.requests) this.#client.pause();
    else this.#client.resume();
    if (held.replies) this.#server.pause();
    else this.#server.resume();
  }

  destroy(): void {
    for (const direction of this.#directions) direction.stop();
    this.#client.destroy();
    this.#server.destroy();
  }

  #pipe(from: Socket, to: Socket, fate: Fate): Direction {
    const direction = new Direction(to);
    from.on('data', (chunk) => {
      const decided = fate();
      if (decided === 'cut') this.destroy();
      else direction.send(chunk, decided);
    });
    from.on('end', () => direction.end());
    return direction;
  }
}

/** One way of a connection. Bytes never overtake each other: what comes later leaves later, whatever its own delay. */
class Direction {
  readonly #to: Socket;
  readonly #waiting: { readonly chunk: Buffer; readonly leavesAt: number }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #ended = false;

  constructor(to: Socket) {
    this.#to = to;
  }

  send(chunk: Buffer, delayMs: number): void {
    if (delayMs === 0 && this.#waiting.length === 0) {
      this.#to.write(chunk);
      return;
    }
    this.#waiting.push({ chunk, leavesAt: performance.now() + delayMs });
    this.#timer ??= setTimeout(this.#flush, delayMs);
  }

  /** Passes on that nothing more comes, after what still waits. */
  end(): void {
    this.#ended = true;
    if (this.#waiting.length === 0) this.#to.end();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#waiting.length = 0;
  }

  readonly #flush = (): void => {
    this.#timer = undefined;
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const waitMs = first.leavesAt - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(this.#flush, waitMs);
        return;
      }
      this.#to.write(first.chunk);
      this.#waiting.shift();
    }
    if (this.#ended) this.#to.end();
  };
}
