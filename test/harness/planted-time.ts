// A script for which Redis has another time than it has.
import { createHash } from 'node:crypto';
import type { Script } from '../../lua/scripts.js';

/** Its `TIME` is this one, in epoch ms. Throws when the script does not ask for it in the one way that is known. */
export function atTime({ name, source }: Script, ms: number): Script {
  const planted = `{ ${Math.floor(ms / 1_000)}, ${(ms % 1_000) * 1_000} }`;
  const moved = source.replace(`redis.call('TIME')`, planted);
  if (moved === source) throw new Error(`${name}: does not ask for the time`);
  return { name, source: moved, sha1: createHash('sha1').update(moved).digest('hex') };
}
