// A part of the crowd, a process of its own: it opens all its connections in one moment, sends a claim on each as soon as it is
// open, and lets go of them when the last has heard its answer. Bare sockets: a client of undici costs a millisecond of CPU
// to open, and a process that is busy with that is late with the requests. Loopback only; ends when the benchmark does.
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import type { CrowdJob, FromCrowd, Heard, ToCrowd } from './crowd-job.js';

/** Well beyond the time in which the service answers every claim, and the kernel tries a connection again. */
const ANSWER_TIMEOUT_MS = 60_000;
const ANSWER = /^HTTP\/1\.1 (\d{3})[^]*"(?:code|status)":"(\w+)"/;

process.on('disconnect', () => process.exit());

async function comeAtOnce({ port, couponId, userPrefix, firstUser, users, from }: CrowdJob): Promise<Heard> {
  const answers: Record<string, number> = {};
  const latenciesMs: number[] = [];
  const sockets: Socket[] = [];
  const startedAt = performance.now();
  const hear = (socket: Socket, userId: string): Promise<void> =>
    new Promise((resolve) => {
      let text = '';
      const settle = (answer: string): void => {
        answers[answer] = (answers[answer] ?? 0) + 1;
        latenciesMs.push(performance.now() - startedAt);
        // Whatever becomes of the connection now is no news.
        socket.removeAllListeners().on('error', () => undefined);
        resolve();
      };
      socket.setTimeout(ANSWER_TIMEOUT_MS, () => settle('ETIMEDOUT'));
      socket.on('error', ({ name, code }: NodeJS.ErrnoException) => settle(code ?? name));
      socket.on('close', () => settle('closed'));
      socket.on('connect', () => {
        socket.write(`POST /v1/coupons/${couponId}/claims HTTP/1.1\r\nHost: stampede\r\nX-User-Id: ${userId}\r\n\r\n`);
      });
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1');
        const [, status, said] = ANSWER.exec(text) ?? [];
        if (said !== undefined) settle(`${status} ${said}`);
      });
    });
  const all = Array.from({ length: users }, (_, i) => {
    const socket = connect({ host: '127.0.0.1', port, localAddress: from });
    sockets.push(socket);
    return hear(socket, `${userPrefix}${firstUser + i}`);
  });
  await Promise.all(all);
  const endedAt = Date.now();
  // Reset, not closed: ports that rest for a minute afterwards make the next burst's search for one dear.
  for (const socket of sockets) socket.resetAndDestroy();
  return { answers, endedAt, latenciesMs: latenciesMs.sort((a, b) => a - b) };
}

async function receive<K extends ToCrowd['kind']>(kind: K): Promise<Extract<ToCrowd, { kind: K }>> {
  const [message] = (await once(process, 'message')) as [ToCrowd];
  if (message.kind !== kind) throw new Error(`expected ${kind}, got ${message.kind}`);
  return message as Extract<ToCrowd, { kind: K }>;
}

function send(message: FromCrowd): void {
  process.send?.(message);
}

for (;;) {
  const job = await receive('job');
  send({ kind: 'ready' });
  await receive('go');
  send({ kind: 'heard', ...(await comeAtOnce(job)) });
}
