// The clients of the lab: a steady rate of requests with bursts, on connections that are kept open; a client that gets
// no answer within its patience goes away.
import { Agent, get } from 'node:http';

const EVERY_MS = 50;
const PER_TICK = 2;
/** Every so many ticks comes a burst. */
const BURST_EVERY_TICKS = 30;
const BURST = 30;
const PATIENCE_MS = 1_000;
/** More than this are not under way at once: what hangs must not take all of the machine's ports. */
const UNDER_WAY_MAX = 500;

export interface Load {
  stop(): void;
}

export function startLoad(port: number): Load {
  const agent = new Agent({ keepAlive: true });
  let underWay = 0;
  let tick = 0;
  const ask = (): void => {
    if (underWay >= UNDER_WAY_MAX) return;
    underWay += 1;
    const request = get({ port, host: '127.0.0.1', agent, timeout: PATIENCE_MS }, (response) => {
      response.on('error', () => response.destroy()).resume();
    });
    const patience = setTimeout(() => request.destroy(), PATIENCE_MS);
    request.on('error', () => request.destroy());
    request.once('close', () => {
      clearTimeout(patience);
      underWay -= 1;
    });
  };
  const asking = setInterval(() => {
    tick += 1;
    const count = PER_TICK + (tick % BURST_EVERY_TICKS === 0 ? BURST : 0);
    for (let i = 0; i < count; i++) ask();
  }, EVERY_MS);
  return {
    stop() {
      clearInterval(asking);
      agent.destroy();
    },
  };
}
