// A Redis Cluster on loopback for one test file: masters that share the slots evenly, each with one replica, which takes
// over about two seconds after its master has died. The nodes are the product's own servers, which the test may stop, kill
// and start again.
import { randomBytes } from 'node:crypto';
import { findFreePort } from '../../platform/embedded/free-port.js';
import { createLog } from '../../platform/log.js';
import type { RedisServer } from '../../platform/redis.js';
import { connectRedis, isCluster, whenRedisReady } from '../../platform/redis.js';
import { atEndOfFile } from './cleanup.js';
import type { TestServer } from './servers.js';
import { startTestRedis } from './servers.js';
import { waitFor } from './wait-for.js';

const SLOTS = 16_384;
/** After this long without an answer a node counts as gone; the election adds about a second. */
const NODE_TIMEOUT_MS = 1_000;
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
  const [owners, replicas] = [nodes.slice(0, masters), nodes.slice(masters)];
  for (const [number, { redis }] of nodes.entries()) {
    await redis.call('CLUSTER', 'SET-CONFIG-EPOCH', number + 1);
    if (number < masters) {
      const [from, to] = [number, number + 1].map((part) => Math.floor((part * SLOTS) / masters));
      await redis.call('CLUSTER', 'ADDSLOTSRANGE', from ?? 0, (to ?? 0) - 1);
    }
    // Everybody meets everybody, so that nobody waits for gossip.
    for (const [other, { server }] of nodes.entries()) {
      if (other < number) await redis.call('CLUSTER', 'MEET', '127.0.0.1', portOf(server), busPorts[other] ?? 0);
    }
  }
  const known = async ({ redis }: ClusterNode): Promise<boolean> =>
    ((await redis.call('CLUSTER', 'INFO')) as string).includes(`cluster_known_nodes:${nodes.length}\r`);
  await waitFor(async () => (await Promise.all(nodes.map(known))).every(Boolean), { what: 'the nodes to meet' });
  for (const [number, { redis }] of replicas.entries()) {
    const master = (await owners[number]?.redis.call('CLUSTER', 'MYID')) as string;
    await waitFor(async () => (await redis.call('CLUSTER', 'REPLICATE', master)) === 'OK', { what: 'a replica' });
  }
  const settled = async ({ redis }: ClusterNode): Promise<boolean> => {
    const [cluster, replication] = [(await redis.call('CLUSTER', 'INFO')) as string, await redis.info('replication')];
    const inStep = replication.includes('master_link_status:up') || replication.includes('connected_slaves:1');
    return cluster.includes('cluster_state:ok') && cluster.includes(`cluster_size:${masters}\r`) && inStep;
  };
  await waitFor(async () => (await Promise.all(nodes.map(settled))).every(Boolean), { what: 'the cluster to settle' });
  return {
    url: owners.map(({ server }) => server.url).join(','),
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
  const more = [
    'cluster-enabled yes',
    `cluster-port ${busPort}`,
    `cluster-node-timeout ${NODE_TIMEOUT_MS}`,
    // The other shards go on while the slots of one master are served by nobody.
    'cluster-require-full-coverage no',
    'cluster-allow-replica-migration no',
    // However far behind: what it does not have is for the service to bring back.
    'cluster-replica-validity-factor 0',
    'repl-diskless-sync-delay 0',
    `masterauth ${password}`,
  ];
  const server = await startTestRedis({ password, more });
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
