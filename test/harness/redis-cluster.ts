// A Redis Cluster on loopback for one test file: masters that share the slots evenly, each with one replica, which takes
// over about two seconds after its master has died. The nodes are the product's own servers, which the test may stop, kill
// and start again.
import { randomBytes } from 'node:crypto';
import { findFreePort } from '../../platform/embedded/free-port.js';
import { createLog } from '../../platform/log.js';
import type { RedisServer } from '../../platform/redis.js';
import { connectRedis, isCluster, whenRedisReady } from '../../platform/redis.js';
import { joinCluster, nodeConfiguration } from '../../verify/redis-cluster.js';
import { atEndOfFile } from './cleanup.js';
import type { TestServer } from './servers.js';
import { startTestRedis } from './servers.js';

const CALL_TIMEOUT_MS = 10_000;

export interface ClusterNode {
  readonly server: TestServer;
  /** A connection of the test's own to this node, whatever role it has. */
  readonly redis: RedisServer;
}

export interface TestCluster {
  /** As REDIS_URL names it. */
  readonly url: string;
  readonly nodes: readonly ClusterNode[];
  /** The node that answers for the slot of this key now. Rejects when none says so of itself. */
  masterOf(key: string): Promise<ClusterNode>;
}

/** Resolves when every slot is served and every replica is in step. Takes some two seconds. */
export async function startTestCluster({ masters = 3 } = {}): Promise<TestCluster> {
  const password = randomBytes(16).toString('hex');
  const busPorts: number[] = [];
  const nodes: ClusterNode[] = [];
  for (let number = 0; number < 2 * masters; number++) {
    busPorts.push(await findFreePort());
    nodes.push(await startNode(password, busPorts[number] ?? 0));
  }
  const [first] = nodes;
  if (first === undefined) throw new Error('a cluster has nodes');
  await joinCluster(
    nodes.map(({ server, redis }, number) => ({ redis, port: portOf(server), busPort: busPorts[number] ?? 0 })),
    masters,
  );
  return {
    url: nodes
      .slice(0, masters)
      .map(({ server }) => server.url)
      .join(','),
    nodes,
    masterOf: async (key) => {
      const slot = Number(
        await first.redis.cluster('KEYSLOT', key).catch(() => nodes[1]?.redis.cluster('KEYSLOT', key)),
      );
      for (const node of nodes) {
        // A node that is dead or was deposed does not say so of itself.
        const ranges = (await node.redis.cluster('SLOTS').catch(() => [])) as [number, number, [string, number]][];
        const own = ranges.some(([from, to, [, port]]) => slot >= from && slot <= to && port === portOf(node.server));
        if (own) return node;
      }
      throw new Error(`no node has ${key}`);
    },
  };
}

async function startNode(password: string, busPort: number): Promise<ClusterNode> {
  const server = await startTestRedis({ password, more: nodeConfiguration(password, busPort) });
  const redis = connectRedis(
    server.url,
    { kind: 'request', commandTimeoutMs: CALL_TIMEOUT_MS },
    createLog('test', 'silent'),
  );
  if (isCluster(redis)) throw new Error('one URL names one server');
  atEndOfFile(() => {
    redis.disconnect();
    return Promise.resolve();
  });
  await whenRedisReady(redis, CALL_TIMEOUT_MS);
  return { server, redis };
}

function portOf(server: TestServer): number {
  return Number(new URL(server.url).port);
}
