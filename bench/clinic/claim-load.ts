// A bounded number of claims against one port: `node claim-load.js <port> <coupon> <claims>`. Run by clinic once the port is
// open; when it ends, so does what clinic watches.
import { Child } from '../child.js';
import type { FromLoad, ToLoad } from '../load-job.js';

const CONNECTIONS = 64;
const CONNECT_TIMEOUT_MS = 60_000;
const JOB_TIMEOUT_MS = 180_000;

const [port = '', couponId = '', claims = ''] = process.argv.slice(2);
const load = new Child({ script: 'load', signal: new AbortController().signal });
const job = { url: `http://127.0.0.1:${port}`, couponId, userPrefix: 'user-', requests: Number(claims) };
await ask({ kind: 'connect', ...job, connections: CONNECTIONS }, CONNECT_TIMEOUT_MS);
const done = await ask({ kind: 'go' }, JOB_TIMEOUT_MS);
console.log(JSON.stringify(done));
await load.stop();

async function ask(message: ToLoad, limitMs: number): Promise<FromLoad> {
  return (await load.answer(limitMs, message)) as FromLoad;
}
