// Measures what the diagnostics cost on the claim path of the real service: CPU time of its http process per claim, with
// the agent (recorder, vital signs, diagnostics thread) and without. Two processes of the same service differ by up to
// 10 % for their whole life, far more than is looked for: so the agent of ONE process is stopped and started again
// (switch.ts), in turns, in several services one after the other. `node dist/bench/recorder/claims.js [services] [rounds]
// [requests of a round]`. Exits 1 when over the budget.
import { readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { createLog } from '../../platform/log.js';
import { Child } from '../child.js';
import { cpuMicrosOf } from '../cpu.js';
import type { FromLoad, ToLoad } from '../load-job.js';
import { startService } from '../service.js';
import type { Service } from '../service.js';
import { spreadOf } from '../statistics.js';

const SERVICES = 3;
const ROUNDS = 6;
const REQUESTS_PER_ROUND = 40_000;
const WARM_UP_ROUNDS = 1;
const CONNECTIONS = 128;
/** Of the claim path, always on. */
const RATIO_MAX = 1.03;
const CONNECT_TIMEOUT_MS = 60_000;
const JOB_TIMEOUT_MS = 180_000;
const SWITCH_TIMEOUT_MS = 30_000;
const POLL_MS = 20;
/**
 * From a turn until claims count, on either side, with claims all the while: a thread that has just started compiles its pages, hooks
 * that are new are compiled, the sampler finds its rate, and the first snapshot (after 5 s) reads the source maps. All that is the
 * price of a start.
 */
const SETTLE_MS = 7_000;
const REQUESTS_TO_SETTLE = 10_000;
const COUPON = 'measured';
/** The most that a coupon may have: never the limit. */
const STOCK = 10_000_000;
const WHICH = ['off', 'on'] as const;
type Which = (typeof WHICH)[number];

const [services = SERVICES, rounds = ROUNDS, requests = REQUESTS_PER_ROUND] = process.argv.slice(2).map(Number);
const stopping = new AbortController();
process.once('SIGINT', () => stopping.abort());
process.exitCode = (await measure()) <= RATIO_MAX ? 0 : 1;

/** Prints both, and resolves with the median ratio. */
async function measure(): Promise<number> {
  const micros: Record<Which, number[]> = { off: [], on: [] };
  for (let nth = 0; nth < services; nth++) {
    const before = micros.on.length;
    await measureService(micros);
    const ratio = spreadOf(ratiosOf(micros).slice(before)).median;
    console.error(`service ${nth + 1} of ${services}: ratio ${ratio.toFixed(3)}`);
  }
  const ratios = spreadOf(ratiosOf(micros));
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

function ratiosOf({ on, off }: Readonly<Record<Which, readonly number[]>>): number[] {
  return on.map((each, index) => each / (off[index] ?? NaN));
}

async function measureService(micros: Readonly<Record<Which, number[]>>): Promise<void> {
  const { signal } = stopping;
  const service = await startService({
    workers: 1,
    execArgv: ['--import', new URL('switch.js', import.meta.url).href],
    log: createLog('bench', 'silent'),
    signal,
  });
  const load = new Child({ script: 'load', signal });
  try {
    await service.createCoupon(COUPON, STOCK);
    for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
      // Each is first as often as the other.
      for (const which of round % 2 === 0 ? WHICH : WHICH.toReversed()) {
        await turn(which, service);
        const settledAt = performance.now() + SETTLE_MS;
        for (let lap = 0; performance.now() < settledAt; lap++) {
          await claimMicros(service, load, `before-${round}-${which}-${lap}-`, REQUESTS_TO_SETTLE);
        }
        const perClaim = await claimMicros(service, load, `round-${round}-${which}-`, requests);
        if (round >= 0) micros[which].push(perClaim);
      }
    }
  } finally {
    await load.stop();
    await service.stop();
  }
}

async function turn(which: Which, { pids, socketFolder }: Service): Promise<void> {
  const isOn = (): boolean => readdirSync(socketFolder).some((name) => /^http.*\.sock$/.test(name));
  const wanted = which === 'on';
  const [pid] = pids.http;
  if (isOn() !== wanted && pid !== undefined) {
    process.kill(pid, 'SIGUSR2');
    const deadline = Date.now() + SWITCH_TIMEOUT_MS;
    while (isOn() !== wanted) {
      if (Date.now() > deadline) throw new Error(`the diagnostics were not ${which} after ${SWITCH_TIMEOUT_MS} ms`);
      await delay(POLL_MS);
    }
  }
}

/** µs of CPU of the http process per claim of one round. */
async function claimMicros(
  { url, pids, databases }: Service,
  load: Child,
  userPrefix: string,
  claims: number,
): Promise<number> {
  await databases.whenWritten();
  const job = { url, couponId: COUPON, userPrefix, requests: claims, connections: CONNECTIONS };
  await ask(load, { kind: 'connect', ...job }, CONNECT_TIMEOUT_MS);
  const [pid = 0] = pids.http;
  const before = cpuMicrosOf(pid);
  const answer = await ask(load, { kind: 'go' }, JOB_TIMEOUT_MS);
  const used = cpuMicrosOf(pid) - before;
  if (answer.kind !== 'done' || answer.answers['201 claimed'] !== claims) {
    throw new Error(`not every claim was granted: ${JSON.stringify(answer)}`);
  }
  return used / claims;
}

async function ask(load: Child, message: ToLoad, limitMs: number): Promise<FromLoad> {
  return (await load.answer(limitMs, message)) as FromLoad;
}
