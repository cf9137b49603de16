// Makes a Redis Cluster of servers on this machine, for those who test and measure the service on one: masters that share the
// slots evenly, and as many replicas as there are further nodes. The servers stay their starter's; nothing is waited for without
// limit.
import { setTimeout as delay } from 'node:timers/promises';
import type { RedisServer } from '../platform/redis.js';

const SLOTS = 16_384;
/** After this long without an answer a node counts as gone; the election adds about a second. */
const NODE_TIMEOUT_MS = 1_000;
/** Generous: a slow machine is no failure. */
const JOIN_TIMEOUT_MS = 30_000;
const LOOK_INTERVAL_MS = 20;

export interface JoiningNode {
  /** A connection to this node. */
  readonly redis: RedisServer;
  readonly port: number;
  readonly busPort: number;
}

/** Lines of the configuration with which a node has to be started. All nodes have one password. */
export function nodeConfiguration(password: string, busPort: number): string[] {
  return [
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
}

/**
 * The first `masters` nodes become masters, the others their replicas in turn. Resolves when every slot is served and every
 * replica is in step.
 */
export async function joinCluster(nodes: readonly JoiningNode[], masters: number): Promise<void> {
  for (const [number, { redis }] of nodes.entries()) {
    await redis.call('CLUSTER', 'SET-CONFIG-EPOCH', number + 1);
    if (number < masters) {
      const [from, to] = [number, number + 1].map((part) => Math.floor((part * SLOTS) / masters));
      await redis.call('CLUSTER', 'ADDSLOTSRANGE', from ?? 0, (to ?? 0) - 1);
    }
    // Everybody meets everybody, so that nobody waits for gossip.
    for (const { port, busPort } of nodes.slice(0, number)) {
      await redis.call('CLUSTER', 'MEET', '127.0.0.1', port, busPort);
    }
  }
  await until('the nodes to meet', () => allSay(nodes, `cluster_known_nodes:${nodes.length}\r`));
  for (const [number, { redis }] of nodes.slice(masters).entries()) {
    const master = (await nodes[number % masters]?.redis.call('CLUSTER', 'MYID')) as string;
    await until('a replica', async () => (await redis.call('CLUSTER', 'REPLICATE', master)) === 'OK');
  }
  await until(
    'the cluster to settle',
    async () =>
      (await allSay(nodes, 'cluster_state:ok')) &&
      (await allSay(nodes, `cluster_size:${masters}\r`)) &&
      (await replicasInStep(nodes, masters)),
  );
}

async function allSay(nodes: readonly JoiningNode[], line: string): Promise<boolean> {
  const said = await Promise.all(nodes.map(async ({ redis }) => (await redis.call('CLUSTER', 'INFO')) as string));
  return said.every((info) => info.includes(line));
}

async function replicasInStep(nodes: readonly JoiningNode[], masters: number): Promise<boolean> {
  const said = await Promise.all(nodes.map(async ({ redis }) => await redis.info('replication')));
  return said.every((info, number) => {
    if (number >= masters) return info.includes('master_link_status:up');
    const replicas = Math.floor((nodes.length - 1 - number) / masters);
    return info.includes(`connected_slaves:${replicas}\r`);
  });
}

/** An error counts as "not yet". */
async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + JOIN_TIMEOUT_MS;
  let cause: unknown;
  do {
    try {
      if (await condition()) return;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    await delay(LOOK_INTERVAL_MS);
  } while (performance.now() < deadline);
  throw new Error(`waited ${JOIN_TIMEOUT_MS} ms for ${what}`, { cause });
}
