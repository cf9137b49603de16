// The module hook of early-acknowledgement.mjs. Adds to a line and adds none.
import { Buffer } from 'node:buffer';

const LEDGER = '/dist/workers/ledger/shard-ledger.js';
const LINE = 'const leaveEarly = this.#earlyAttempts < EARLY_ATTEMPTS_MAX;';
const EARLY = `await acknowledge(redis, scripts, { shard: this.shard, epoch, state: 'open', ids: entries.map(({ id }) => id), coupons: new Map() });`;

export async function load(url, context, nextLoad) {
  const loaded = await nextLoad(url, context);
  if (!url.endsWith(LEDGER)) return loaded;
  const source = Buffer.from(loaded.source).toString();
  if (!source.includes(LINE)) throw new Error(`${LEDGER} has no line "${LINE}"`);
  return { ...loaded, source: source.replace(LINE, EARLY + LINE) };
}
