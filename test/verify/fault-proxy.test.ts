// The proxy does to connections what its modes say, and never to the order of bytes.
import { once } from 'node:events';
import type { AddressInfo, Server, Socket } from 'node:net';
import { connect, createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { FaultProxy } from '../../verify/fault-proxy.js';
import '../harness/no-leaks.js';

let server: Server;
let received: string;
let proxy: FaultProxy;

/** Always below the share of chunks that are cut. */
const always = (): number => 0;

beforeEach(async () => {
  received = '';
  server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      received += chunk.toString();
      socket.write(chunk);
    });
    socket.on('end', () => socket.end());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  proxy = await FaultProxy.start((server.address() as AddressInfo).port, always);
});

afterEach(async () => {
  await proxy.stop();
  server.close();
});

async function dial(): Promise<Socket> {
  const socket = connect(proxy.port, '127.0.0.1');
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

async function answerTo(socket: Socket, request: string): Promise<string> {
  socket.write(request);
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  return chunk.toString();
}

it('passes bytes on', async () => {
  expect(await answerTo(await dial(), 'hello')).toBe('hello');
});

it('cuts before the server sees the request', async () => {
  const socket = await dial();
  proxy.misbehave('cut-request');
  socket.write('never seen');
  await once(socket, 'close');
  expect(received).toBe('');
  expect(proxy.behave()).toBe(1);
  expect(await answerTo(await dial(), 'again')).toBe('again');
});

it('cuts after the server has done its work and before the reply', async () => {
  const socket = await dial();
  let replied = false;
  socket.on('data', () => (replied = true));
  proxy.misbehave('cut-reply');
  socket.write('done');
  await once(socket, 'close');
  expect({ received, replied }).toEqual({ received: 'done', replied: false });
});

it('keeps the order of bytes while the delay comes, changes and goes', async () => {
  const socket = await dial();
  const numbers = Array.from({ length: 300 }, (_, i) => i);
  const all = text(socket);
  for (const number of numbers) {
    if (number % 50 === 10) proxy.misbehave('delay', 30 - number / 10);
    if (number % 50 === 40) proxy.behave();
    socket.write(`${number},`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  socket.end();
  expect(await all).toBe(numbers.map((number) => `${number},`).join(''));
});

it('holds everything and loses nothing', async () => {
  const socket = await dial();
  expect(await answerTo(socket, 'before')).toBe('before');
  proxy.misbehave('hold');
  socket.write('meanwhile');
  // A second connection through nothing but the loop's turns: whatever could have passed has passed.
  const other = connect((server.address() as AddressInfo).port, '127.0.0.1');
  await once(other, 'connect');
  expect(await answerTo(other, '!')).toBe('!');
  other.destroy();
  expect(received).toBe('before!');
  const answered = once(socket, 'data');
  expect(proxy.behave()).toBe(1);
  expect(String((await answered)[0])).toBe('meanwhile');
});

it('refuses what is there and what comes', async () => {
  const socket = await dial();
  proxy.misbehave('refuse');
  await once(socket, 'close');
  const another = connect(proxy.port, '127.0.0.1');
  another.on('error', () => undefined);
  await once(another, 'close');
  expect(received).toBe('');
  expect(proxy.behave()).toBe(2);
});
