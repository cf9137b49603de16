// Request connections to a Redis Cluster: every command is written once, to the master of its slot, or not at all. Whatever
// happens to that master, the others answer, and the client finds who takes over by itself.
import { once } from 'node:events';
import { beforeAll, describe, expect, it } from 'vitest';
import { RedisDurability } from '../../platform/durability.js';
import { createLog } from '../../platform/log.js';
import type { Redis } from '../../platform/redis.js';
import { connectRedis, mastersOf, serverOf, whenRedisReady } from '../../platform/redis.js';
import { atEndOfFile } from '../harness/cleanup.js';
import type { TestCluster } from '../harness/redis-cluster.js';
import { startTestCluster } from '../harness/redis-cluster.js';
import { waitFor } from '../harness/wait-for.js';

const COMMAND_TIMEOUT_MS = 1_000;
/** Three keys of three masters. */
const KEYS = ['{s00}:count', '{s01}:count', '{s03}:count'];

let cluster: TestCluster;
let redis: Redis;

beforeAll(async () => {
  cluster = await startTestCluster();
  redis = connectRedis(
    cluster.url,
    { kind: 'request', commandTimeoutMs: COMMAND_TIMEOUT_MS },
    createLog('test', 'silent'),
  );
  atEndOfFile(() => {
    redis.disconnect();
    return Promise.resolve();
  });
  await whenRedisReady(redis, 10_000);
  await allConnected();
});

const allConnected = () => waitFor(() => mastersOf(redis).length === 3, { what: 'every master to be connected' });
const outcomeOf = (reply: Promise<unknown>) =>
  reply.then(
    (value) => ({ value }),
    (error: unknown) => ({ error: String(error) }),
  );

it('sends each command to the master of its slot', async () => {
  const masters = await Promise.all(KEYS.map((key) => cluster.masterOf(key)));
  expect(new Set(masters).size).toBe(3);
  for (const [index, key] of KEYS.entries()) {
    expect(await redis.incr(key)).toBe(1);
    expect(await masters[index]?.redis.get(key)).toBe('1');
    expect(`${serverOf(redis, key)?.options.port}`).toBe(new URL(masters[index]?.server.url ?? '').port);
  }
});

it('refuses a command that names no key, instead of asking any node', async () => {
  await expect(redis.wait(1, 10)).rejects.toThrow('names no key');
  await expect(redis.config('GET', 'maxmemory')).rejects.toThrow('names no key');
});

it('asks each server by itself whether it flushes', async () => {
  const durability = new RedisDurability(redis, createLog('test', 'silent'));
  const [flushing, lax] = KEYS;
  try {
    await (await cluster.masterOf(lax ?? '')).redis.config('SET', 'appendfsync', 'everysec');
    expect(await durability.fsyncsBeforeReply(flushing ?? '')).toBe(true);
    expect(await durability.fsyncsBeforeReply(lax ?? '')).toBe(false);
  } finally {
    durability.stop();
    await (await cluster.masterOf(lax ?? '')).redis.config('SET', 'appendfsync', 'always');
  }
});

describe('a slot that moves while its master goes on', () => {
  it('is not followed: the command is told to have gone astray, and the map is read anew', async () => {
    const key = '{moving}:count';
    const slot = await cluster.nodes[0]?.redis.cluster('KEYSLOT', key);
    const from = await cluster.masterOf(key);
    const to = await cluster.masterOf(
      KEYS.find((other) => other !== key && serverOf(redis, other) !== serverOf(redis, key)) ?? '',
    );
    const id = (await to.redis.call('CLUSTER', 'MYID')) as string;
    for (const { redis: node } of [to, from]) await node.call('CLUSTER', 'SETSLOT', slot ?? 0, 'NODE', id);
    await expect(redis.incr(key)).rejects.toThrow(/^MOVED/);
    await waitFor(async () => (await redis.incr(key)) > 0, { what: 'the new map' });
    expect(await to.redis.get(key)).toBe('1');
  });
});

describe('a master that dies', () => {
  it('has what was in flight rejected at once and never sent again, while the others answer', async () => {
    const [dying = '', ...others] = KEYS;
    const { server, redis: direct } = await cluster.masterOf(dying);
    await direct.set(dying, '0');
    await direct.wait(1, 5_000);
    process.kill(server.pid, 'SIGSTOP');
    const single = outcomeOf(redis.incr(dying));
    const piped = outcomeOf(
      redis
        .pipeline()
        .incr(dying)
        .incr(dying)
        .exec()
        .then((replies) => replies?.map(([error]) => error?.message)),
    );
    await server.kill();
    expect(await single).toHaveProperty('error');
    expect(await piped).toEqual({ value: [expect.stringContaining('closed'), expect.stringContaining('closed')] });

    // Until somebody takes over, nothing is sent for these slots, and everything for the others.
    expect(serverOf(redis, dying)).toBeUndefined();
    await expect(redis.incr(dying)).rejects.toThrow('Redis command was not sent');
    for (const key of others) await redis.incr(key);

    const value = await waitFor(async () => redis.get(dying), { what: 'the replica to take over' });
    expect(value).toBe('0');
    await server.restart();
    await allConnected();
    expect(await redis.incr(dying)).toBe(1);
  });
});

describe('a master that is mute', () => {
  it('costs one time limit, and its connection', async () => {
    const [, mute = '', other = ''] = KEYS;
    const { server } = await cluster.masterOf(mute);
    process.kill(server.pid, 'SIGSTOP');
    try {
      await expect(redis.incr(mute)).rejects.toThrow('Command timed out');
      await waitFor(() => serverOf(redis, mute) === undefined, { what: 'the connection to be left' });
      await redis.incr(other);
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
    await waitFor(async () => (await redis.incr(mute)) > 0, { what: 'whoever serves the slot now' });
  });

  it('costs less when another one takes over before that', async () => {
    const patient = connectRedis(
      cluster.url,
      { kind: 'request', commandTimeoutMs: 60_000 },
      createLog('test', 'silent'),
    );
    const [, mute = ''] = KEYS;
    await whenRedisReady(patient, 10_000);
    await waitFor(() => serverOf(patient, mute), { what: 'the connection' });
    const { server } = await cluster.masterOf(mute);
    process.kill(server.pid, 'SIGSTOP');
    try {
      await expect(patient.incr(mute)).rejects.toThrow('Connection is closed');
      await waitFor(async () => (await patient.incr(mute)) > 0, { what: 'the new master' });
    } finally {
      process.kill(server.pid, 'SIGCONT');
      patient.disconnect();
    }
  });
});

it('connects for jobs to a cluster that says it is not whole', async () => {
  const jobs = connectRedis(cluster.url, { kind: 'jobs' }, createLog('test', 'silent'));
  const everywhere = (...command: [string, ...(string | number)[]]) =>
    Promise.all(cluster.nodes.map((node) => node.redis.call(...command)));
  const sayAll = (state: string) =>
    waitFor(
      async () =>
        (await everywhere('CLUSTER', 'INFO')).every((info) => String(info).includes(`cluster_state:${state}`)),
      { what: `every node to say ${state}` },
    );
  const [key = ''] = KEYS;
  const owner = await cluster.masterOf('{nobody}');
  const slot = await owner.redis.cluster('KEYSLOT', '{nobody}');
  try {
    await jobs.incr(key);
    const ended = once(jobs, 'end');
    jobs.disconnect();
    await ended;
    await everywhere('CONFIG', 'SET', 'cluster-require-full-coverage', 'yes');
    await everywhere('CLUSTER', 'DELSLOTS', slot);
    await sayAll('fail');
    // BullMQ waits for this without a limit.
    await jobs.connect();
    await owner.redis.call('CLUSTER', 'ADDSLOTS', slot);
    expect(await jobs.incr(key)).toBeGreaterThan(0);
    await sayAll('ok');
  } finally {
    await everywhere('CONFIG', 'SET', 'cluster-require-full-coverage', 'no');
    jobs.disconnect();
  }
});

it('waits for a cluster that is not there, at its start and afterwards', async () => {
  for (const { server } of cluster.nodes) await server.kill();
  await waitFor(() => mastersOf(redis).length === 0, { what: 'every connection to break' });
  await expect(redis.incr('{s00}:count')).rejects.toThrow('Redis command was not sent');
  const early = connectRedis(
    cluster.url,
    { kind: 'request', commandTimeoutMs: COMMAND_TIMEOUT_MS },
    createLog('test', 'silent'),
  );
  try {
    await expect(whenRedisReady(early, 500)).rejects.toThrow('did not answer');
    for (const { server } of cluster.nodes) await server.restart();
    await allConnected();
    for (const client of [redis, early]) {
      await waitFor(async () => (await client.incr('{s00}:count')) > 0, { what: 'the cluster to be back' });
    }
  } finally {
    early.disconnect();
  }
});
