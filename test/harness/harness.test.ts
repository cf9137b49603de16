import { describe, expect, it } from 'vitest';
import { identify } from '../../platform/process-identity.js';
import { createLog } from '../../platform/log.js';
import type { RowDataPacket } from '../../platform/mysql.js';
import { connectMysql } from '../../platform/mysql.js';
import { connectRedis, whenRedisReady } from '../../platform/redis.js';
import { createTestDatabase } from './database.js';
import { startTestMariadb, startTestRedis } from './servers.js';
import { waitFor } from './wait-for.js';

const REDIS_TIMEOUT_MS = 5_000;

async function redisCall(url: string, ...command: [string, ...string[]]): Promise<unknown> {
  const redis = connectRedis(url, { kind: 'request', commandTimeoutMs: REDIS_TIMEOUT_MS }, createLog('test', 'silent'));
  try {
    await whenRedisReady(redis, REDIS_TIMEOUT_MS);
    return await redis.call(...command);
  } finally {
    redis.disconnect();
  }
}

async function query(url: string, statement: string): Promise<unknown[]> {
  const connection = await connectMysql(url);
  try {
    const [rows] = await connection.query<RowDataPacket[]>(statement);
    return Array.isArray(rows) ? rows.map((row): unknown => Object.values(row)[0]) : [];
  } finally {
    await connection.end();
  }
}

describe('startTestRedis', () => {
  it('keeps port and data over SIGKILL and restart', async () => {
    const redis = await startTestRedis();
    await redisCall(redis.url, 'SET', 'kept', 'yes');
    const killed = redis.pid;
    await redis.kill();
    expect(identify(killed)).toBeUndefined();
    await redis.restart();
    expect(redis.pid).not.toBe(killed);
    expect(await redisCall(redis.url, 'GET', 'kept')).toBe('yes');
    await redis.stop();
    expect(identify(redis.pid)).toBeUndefined();
  });

  it('forgets everything without persistence', async () => {
    const redis = await startTestRedis({ persistence: false });
    await redisCall(redis.url, 'SET', 'kept', 'yes');
    await redis.restart();
    expect(await redisCall(redis.url, 'GET', 'kept')).toBeNull();
  });

  it('takes another appendfsync', async () => {
    const redis = await startTestRedis({ appendfsync: 'everysec' });
    expect(await redisCall(redis.url, 'CONFIG', 'GET', 'appendfsync')).toEqual(['appendfsync', 'everysec']);
  });
});

describe('startTestMariadb', () => {
  it('keeps port and data over SIGKILL, stop and restart', async () => {
    const mariadb = await startTestMariadb();
    const { url } = await createTestDatabase(mariadb.url);
    await query(url, 'CREATE TABLE kept (a INT PRIMARY KEY)');
    await query(url, 'INSERT INTO kept VALUES (1)');
    await mariadb.kill();
    await expect(query(url, 'SELECT a FROM kept')).rejects.toThrow(/ECONNREFUSED/);
    await mariadb.restart();
    await query(url, 'INSERT INTO kept VALUES (2)');
    await mariadb.stop();
    await mariadb.restart();
    expect(await query(url, 'SELECT a FROM kept ORDER BY a')).toEqual([1, 2]);
  });
});

describe('createTestDatabase', () => {
  it('gives every caller an empty database that tells case, accents and spaces apart', async () => {
    const [first, second] = await Promise.all([createTestDatabase(), createTestDatabase()]);
    await query(first.url, 'CREATE TABLE ids (id VARCHAR(10) PRIMARY KEY)');
    await query(first.url, "INSERT INTO ids VALUES ('a'), ('A'), ('à')");
    expect(await query(second.url, 'SHOW TABLES')).toEqual([]);
    await first.drop();
    await expect(query(first.url, 'SELECT 1')).rejects.toThrow(/Unknown database/);
  });
});

describe('waitFor', () => {
  it('resolves with what the condition gives, and takes an error for "not yet"', async () => {
    let asked = 0;
    const value = await waitFor(
      () => {
        asked++;
        if (asked === 1) throw new Error('not yet');
        return asked > 2 ? asked : undefined;
      },
      { what: 'the third question' },
    );
    expect(value).toBe(3);
  });

  it('rejects after its time, with the last error as the cause', async () => {
    const reason = new Error('still broken');
    const waiting = waitFor(() => Promise.reject(reason), { what: 'the impossible', timeoutMs: 50 });
    await expect(waiting).rejects.toMatchObject({ message: 'waited 50 ms for the impossible', cause: reason });
  });
});
