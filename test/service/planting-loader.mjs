// The module hook of planted.mjs. Adds to a line and adds none, so that the source map still leads to the .ts line.
import { Buffer } from 'node:buffer';

const HANDLER = '/dist/cluster/http/claim-routes.js';
const LINE = 'const identified = identify(request.raw);';
const BLOCK_MS = 6_000;
const FAULTS =
  `(globalThis.planted ??= []).push(new Promise(() => {}));` +
  `if (request.headers['x-user-id'] === 'blocker') for (const end = Date.now() + ${BLOCK_MS}; Date.now() < end;);`;

export async function load(url, context, nextLoad) {
  const loaded = await nextLoad(url, context);
  if (!url.endsWith(HANDLER)) return loaded;
  const source = Buffer.from(loaded.source).toString();
  if (!source.includes(LINE)) throw new Error(`${HANDLER} has no line "${LINE}"`);
  return { ...loaded, source: source.replace(LINE, LINE + FAULTS) };
}
