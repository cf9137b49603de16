// A process of the recorder's benchmark: two routes of Fastify, with the recorder or without. Forked by main.ts; answers
// the message `cpu` with the CPU time used so far, and ends with the channel.
import { fastify } from 'fastify';
import { createDetector } from '../../diagnostics/detector/detector.js';
import { startRecorder } from '../../diagnostics/recorder/recorder.js';

/** Four promises each, the two awaits' own among them; with the timer's 33. */
const STEPS = 8;
/** As the agent asks for them. */
const SNAPSHOT_EVERY_MS = 5_000;
const TIMER_MS = 1;

export type RecorderServerMessage = { readonly port: number } | { readonly cpuMicros: number };

if (process.argv[2] === 'on') {
  const recorder = startRecorder();
  const detector = createDetector();
  setInterval(() => detector.add(recorder.snapshot()), SNAPSHOT_EVERY_MS);
}

async function step(value: number): Promise<number> {
  await Promise.resolve();
  return value;
}

const app = fastify();
app.get('/plain', (_request, reply) => reply.send({ status: 'claimed' }));
app.get('/promises', async () => {
  let sum = 0;
  for (let i = 0; i < STEPS; i++) sum += await step(i);
  await new Promise((resolve) => setTimeout(resolve, TIMER_MS));
  return { sum };
});

const tell = (message: RecorderServerMessage): unknown => process.send?.(message);
process.on('message', () => {
  const { user, system } = process.cpuUsage();
  tell({ cpuMicros: user + system });
});
process.on('disconnect', () => process.exit());
const address = await app.listen({ port: 0, host: '127.0.0.1' });
tell({ port: Number(new URL(address).port) });
