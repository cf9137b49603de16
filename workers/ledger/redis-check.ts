// Says in the log what in the configuration of a Redis endangers claims. Each server is asked when a connection to it has
// been made, so that one that takes over is asked, too. Changes nothing.
import type { Log } from '../../platform/log.js';
import type { Redis, RedisServer } from '../../platform/redis.js';
import { mastersOf, SERVER_READY } from '../../platform/redis.js';

/** From now on, until the connection is closed for good. */
export function checkServers(redis: Redis, log: Log): void {
  const check = (server: RedisServer): void => {
    server.config('GET', 'maxmemory-policy', 'cluster-*').then(
      (flat) => reportDangers(server, flat as string[], log),
      // Managed servers often keep CONFIG to themselves; one that fails now is asked again with its next connection.
      () => undefined,
    );
  };
  redis.on(SERVER_READY, check);
  mastersOf(redis).forEach(check);
}

function reportDangers(server: RedisServer, flat: readonly string[], log: Log): void {
  const value = (name: string): string | undefined => (flat.includes(name) ? flat[flat.indexOf(name) + 1] : undefined);
  const where = `${server.options.host}:${server.options.port}`;
  const policy = value('maxmemory-policy') ?? 'noeviction';
  // A Redis that drops keys for want of memory drops receipts and stock: every time the shard has to be rebuilt.
  if (policy !== 'noeviction')
    log.error({ policy, where }, 'REDIS_URL: this Redis may evict keys; set maxmemory-policy to noeviction');
  if (value('cluster-enabled') === 'yes' && value('cluster-require-full-coverage') === 'yes')
    log.warn(
      { where },
      'REDIS_URL: one lost master closes the whole Redis Cluster; set cluster-require-full-coverage to no',
    );
}
