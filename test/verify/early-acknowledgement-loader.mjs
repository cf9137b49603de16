// The module hook of early-acknowledgement.mjs: puts a statement before a line of the ledger.
import { Buffer } from 'node:buffer';

const LEDGER = '/dist/workers/ledger/shard-ledger.js';
/** The batch is taken from the queue, and not written yet. */
const LINE = 'const overdue = this.#overdueAmong(entries);';
const EARLY = `
const read = entries.map(([id]) => id);
const { redis, scripts } = this.#context;
await acknowledge(redis, scripts, { shard: this.shard, epoch, state: 'open', ids: read, coupons: new Map() });
`;

export async function load(url, context, nextLoad) {
  const loaded = await nextLoad(url, context);
  if (!url.endsWith(LEDGER)) return loaded;
  const source = Buffer.from(loaded.source).toString();
  if (!source.includes(LINE)) throw new Error(`${LEDGER} has no line "${LINE}"`);
  return { ...loaded, source: source.replace(LINE, EARLY + LINE) };
}
