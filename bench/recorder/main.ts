// Measures what the recorder costs: CPU time per request with it against the same server without it, in processes of
// their own, in turns, so that what disturbs the machine disturbs both. `node dist/bench/recorder/main.js [rounds]`.
// Exits 1 when a route is over its budget.
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Agent, get } from 'node:http';
import { fileURLToPath } from 'node:url';
import { spreadOf } from '../statistics.js';
import type { RecorderServerMessage } from './server.js';

const ROUNDS = 15;
const REQUESTS_PER_ROUND = 3_000;
const WARM_UP_ROUNDS = 3;
const CONNECTIONS = 32;
const ANSWER_TIMEOUT_MS = 10_000;

/** From issue 4: a route that does next to nothing, as the claim's, and one of 33 promises and a timer. */
const ROUTES = [
  { path: '/plain', ratioMax: 1.03 },
  { path: '/promises', ratioMax: 1.25 },
] as const;

class Server {
  readonly #process: ChildProcess;
  #port = 0;

  constructor(recorder: 'on' | 'off') {
    this.#process = fork(fileURLToPath(new URL('server.js', import.meta.url)), [recorder]);
  }

  async ready(): Promise<void> {
    const message = await this.#answer();
    if ('port' in message) this.#port = message.port;
  }

  /** µs of CPU per request of one round. */
  async round(path: string): Promise<number> {
    const before = await this.#cpuMicros();
    await load(this.#port, path);
    return ((await this.#cpuMicros()) - before) / REQUESTS_PER_ROUND;
  }

  async stop(): Promise<void> {
    const exited = once(this.#process, 'exit');
    this.#process.disconnect();
    await exited;
  }

  async #cpuMicros(): Promise<number> {
    const answered = this.#answer();
    this.#process.send('cpu');
    const message = await answered;
    return 'cpuMicros' in message ? message.cpuMicros : NaN;
  }

  async #answer(): Promise<RecorderServerMessage> {
    const [message] = (await once(this.#process, 'message', { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) })) as [
      RecorderServerMessage,
    ];
    return message;
  }
}

async function load(port: number, path: string): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  let left = REQUESTS_PER_ROUND;
  const client = async (): Promise<void> => {
    while (left-- > 0) {
      await new Promise<void>((resolve, reject) => {
        get({ port, host: '127.0.0.1', path, agent }, (response) => {
          response.resume().once('end', resolve);
        }).once('error', reject);
      });
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, client));
  agent.destroy();
}

const rounds = Number(process.argv[2] ?? ROUNDS);
const servers = { off: new Server('off'), on: new Server('on') };
await Promise.all([servers.off.ready(), servers.on.ready()]);
let isWithin = true;
for (const { path, ratioMax } of ROUTES) {
  const measured = { off: [] as number[], on: [] as number[] };
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    // Each is first as often as the other.
    for (const which of round % 2 === 0 ? (['off', 'on'] as const) : (['on', 'off'] as const)) {
      const micros = await servers[which].round(path);
      if (round >= 0) measured[which].push(micros);
    }
  }
  const ratios = spreadOf(measured.on.map((on, index) => on / (measured.off[index] ?? NaN)));
  isWithin &&= ratios.median <= ratioMax;
  const text = [
    path.padEnd(10),
    `off ${spreadOf(measured.off).median.toFixed(1)} µs`,
    `on ${spreadOf(measured.on).median.toFixed(1)} µs per request`,
    `ratio ${ratios.median.toFixed(3)} (${ratios.min.toFixed(2)} to ${ratios.max.toFixed(2)})`,
    `budget ${ratioMax}`,
  ];
  console.log(text.join('  '));
}
await Promise.all([servers.off.stop(), servers.on.stop()]);
process.exit(isWithin ? 0 : 1);
