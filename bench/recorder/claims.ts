// Measures what the diagnostics cost on the claim path of the real service: CPU time of its http process per claim, with
// the agent (recorder, vital signs, diagnostics thread) and without. Two services side by side, in turns, so that what
// disturbs the machine disturbs both. `node dist/bench/recorder/claims.js [rounds] [requests of a
// round]`. Exits 1 when over the budget.
import { createLog } from '../../platform/log.js';
import { Child } from '../child.js';
import { cpuMicrosOf } from '../cpu.js';
import type { FromLoad, ToLoad } from '../load-job.js';
import { startService } from '../service.js';
import type { Service } from '../service.js';
import { spreadOf } from '../statistics.js';

const ROUNDS = 16;
/** The first moments of a round are dearer, because the recorder takes more of a burst's beginning: long rounds say what goes on. */
const REQUESTS_PER_ROUND = Number(process.argv[3] ?? 60_000);
const WARM_UP_ROUNDS = 2;
const CONNECTIONS = 128;
/** Of the claim path, always on. */
const RATIO_MAX = 1.03;
const CONNECT_TIMEOUT_MS = 60_000;
const JOB_TIMEOUT_MS = 180_000;
const COUPON = 'measured';
const WHICH = ['off', 'on'] as const;
type Which = (typeof WHICH)[number];

const rounds = Number(process.argv[2] ?? ROUNDS);
const stopping = new AbortController();
process.once('SIGINT', () => stopping.abort());
const started: { stop(): Promise<void> }[] = [];
try {
  process.exitCode = (await measure()) <= RATIO_MAX ? 0 : 1;
} finally {
  for (const one of started.reverse()) await one.stop();
}

/** Prints both, and resolves with the median ratio. */
async function measure(): Promise<number> {
  const { signal } = stopping;
  const services = { off: await start('off'), on: await start('on') };
  const load = new Child({ script: 'load', signal });
  started.push(load);
  const micros: Record<Which, number[]> = { off: [], on: [] };
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    // Each is first as often as the other.
    for (const which of round % 2 === 0 ? WHICH : WHICH.toReversed()) {
      const perClaim = await claimMicros(services[which], load, `round-${round}-`);
      if (round >= 0) micros[which].push(perClaim);
    }
  }
  const ratios = spreadOf(micros.on.map((on, index) => on / (micros.off[index] ?? NaN)));
  const text = [
    `Node ${process.versions.node}, claims`,
    `off ${spreadOf(micros.off).median.toFixed(1)} µs`,
    `on ${spreadOf(micros.on).median.toFixed(1)} µs of CPU in the http process per claim`,
    `ratio ${ratios.median.toFixed(3)} (${ratios.min.toFixed(2)} to ${ratios.max.toFixed(2)})`,
    `budget ${RATIO_MAX}`,
  ];
  console.log(text.join('  '));
  return ratios.median;
}

async function start(diagnostics: Which): Promise<Service> {
  const service = await startService({
    workers: 1,
    execArgv: [],
    environment: { DIAGNOSTICS: diagnostics },
    log: createLog('bench', 'silent'),
    signal: stopping.signal,
  });
  started.push(service);
  await service.createCoupon(COUPON, REQUESTS_PER_ROUND * (rounds + WARM_UP_ROUNDS));
  return service;
}

/** µs of CPU of the http process per claim of one round. */
async function claimMicros({ url, pids, databases }: Service, load: Child, userPrefix: string): Promise<number> {
  await databases.whenWritten();
  const job = { url, couponId: COUPON, userPrefix, requests: REQUESTS_PER_ROUND, connections: CONNECTIONS };
  await ask(load, { kind: 'connect', ...job }, CONNECT_TIMEOUT_MS);
  const [pid = 0] = pids.http;
  const before = cpuMicrosOf(pid);
  const answer = await ask(load, { kind: 'go' }, JOB_TIMEOUT_MS);
  const used = cpuMicrosOf(pid) - before;
  if (answer.kind !== 'done' || answer.answers['201 claimed'] !== REQUESTS_PER_ROUND) {
    throw new Error(`not every claim was granted: ${JSON.stringify(answer)}`);
  }
  return used / REQUESTS_PER_ROUND;
}

async function ask(load: Child, message: ToLoad, limitMs: number): Promise<FromLoad> {
  return (await load.answer(limitMs, message)) as FromLoad;
}
