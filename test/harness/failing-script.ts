// A script that ends with an error at one of its calls of Redis, before that call does anything.
import { createHash } from 'node:crypto';
import type { Script } from '../../lua/scripts.js';

/** Its n-th `redis.call` or `redis.pcall` raises an error; a script with fewer calls runs as it is. */
export function failingAt({ name, source }: Script, n: number): Script {
  const planted = `
local real_redis, calls = redis, 0
local function planted(real)
  return function(...)
    calls = calls + 1
    if calls == ${n} then error('planted at call ${n}') end
    return real(...)
  end
end
local redis = {
  call = planted(real_redis.call), pcall = planted(real_redis.pcall), error_reply = real_redis.error_reply,
}
`;
  const failing = source.replace('\n', () => `\n${planted}`);
  return { name, source: failing, sha1: createHash('sha1').update(failing).digest('hex') };
}
