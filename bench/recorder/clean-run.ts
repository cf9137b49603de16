// Watches a healthy service for false alarms: minutes of bursts, quiet, idle connections, slow clients and rolling reloads, with
// the detector as it is in production. `node dist/bench/recorder/clean-run.js [minutes]`. Exits 1 when any process was
// ever called anything but clean.
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { listDebugSockets } from '../../diagnostics/endpoints/proxy.js';
import { gather } from '../../diagnostics/gather/gather.js';
import { createLog } from '../../platform/log.js';
import { Child } from '../child.js';
import type { FromLoad, ToLoad } from '../load-job.js';
import { startService } from '../service.js';
import type { Service } from '../service.js';

const MINUTES = 10;
const COUPON = 'clean';
const CLAIMS_MAX = 10_000_000;
const LOOK_EVERY_MS = 2_500;
const CONNECT_TIMEOUT_MS = 60_000;
const JOB_TIMEOUT_MS = 180_000;
const SLOW_CLIENTS = 40;
const QUIET_MS = 10_000;

const minutes = Number(process.argv[2] ?? MINUTES);
const stopping = new AbortController();
process.once('SIGINT', () => stopping.abort());
const service = await startService({
  workers: 2,
  execArgv: [],
  log: createLog('clean-run', 'silent'),
  signal: stopping.signal,
});
const load = new Child({ script: 'load', signal: stopping.signal });
const alarms = new Set<string>();
let looks = 0;
try {
  await service.createCoupon(COUPON, CLAIMS_MAX);
  const over = AbortSignal.any([stopping.signal, AbortSignal.timeout(minutes * 60_000)]);
  await Promise.all([varyLoad(over), watch(over)]);
} finally {
  await load.stop();
  await service.stop();
}
for (const alarm of alarms) console.log(alarm);
console.log(
  `${minutes} minutes, ${looks} looks at every process: ${alarms.size === 0 ? 'no false alarm' : 'FALSE ALARMS'}`,
);
process.exitCode = alarms.size === 0 && looks > 0 ? 0 : 1;

async function varyLoad(over: AbortSignal): Promise<void> {
  for (let round = 0; !over.aborted; round++) {
    const users = `round-${round}-`;
    await claims(`${users}burst-`, 20_000, 256);
    await claims(`${users}steady-`, 5_000, 4);
    const slow = slowClients(service);
    if (round % 2 === 1) process.kill(service.pids.primary[0] ?? 0, 'SIGHUP');
    await claims(`${users}beside-`, 5_000, 32);
    for (const socket of slow) socket.destroy();
    await delay(QUIET_MS, undefined, { signal: over }).catch(() => undefined);
  }
}

async function claims(userPrefix: string, requests: number, connections: number): Promise<void> {
  const job = { url: service.url, couponId: COUPON, userPrefix, requests, connections };
  await ask({ kind: 'connect', ...job }, CONNECT_TIMEOUT_MS);
  await ask({ kind: 'go' }, JOB_TIMEOUT_MS);
}

async function ask(message: ToLoad, limitMs: number): Promise<FromLoad> {
  return (await load.answer(limitMs, message)) as FromLoad;
}

/** Some send half a request, the others an idle keep-alive connection after one. */
function slowClients({ url }: Service): Socket[] {
  const { port, hostname } = new URL(url);
  return Array.from({ length: SLOW_CLIENTS }, (_, index) => {
    const socket = connect(Number(port), hostname);
    socket.on('error', () => undefined).resume();
    socket.write(
      index % 2 === 0
        ? 'POST /v1/coupons/clean/claims HTTP/1.1\r\nHost: a\r\nX-Us'
        : 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n',
    );
    return socket;
  });
}

async function watch(over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    const sockets = await listDebugSockets(service.socketFolder);
    const processes = sockets.map((socket) => ({ ...socket, role: '', pid: 0, state: '' }));
    for (const { name, summary } of await gather(processes)) {
      for (const { verdict, type, live, stack } of summary?.leaks.sites ?? []) {
        const [frame] = stack;
        alarms.add(
          `${verdict} in ${name}: ${Math.round(live)} ${type} at ${frame === undefined ? '?' : `${frame.file}:${frame.line}`}`,
        );
      }
    }
    looks += 1;
    await delay(LOOK_EVERY_MS, undefined, { signal: over }).catch(() => undefined);
  }
}
