import { readdirSync, readFileSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { beforeAll, describe, expect, it } from 'vitest';
import { identify } from '../../../platform/process-identity.js';
import type { RowDataPacket } from '../../../platform/mysql.js';
import { makeScratchFolder } from '../../harness/scratch.js';
import { waitFor } from '../../harness/wait-for.js';
import { startBoth, startOtherProcess, withMysql, withRedis } from './embedded-harness.js';

function pidIn(dir: string, server: 'redis' | 'mariadb'): number {
  return (JSON.parse(readFileSync(join(dir, 'run', `${server}.json`), 'utf8')) as { pid: number }).pid;
}

function modeOf(path: string): string {
  return (statSync(path).mode & 0o777).toString(8);
}

async function store(servers: { redisUrl: string; mysqlUrl: string }, value: string): Promise<void> {
  await withRedis(servers.redisUrl, (redis) => redis.set('kept', value));
  await withMysql(servers.mysqlUrl, async (connection) => {
    await connection.query('CREATE TABLE IF NOT EXISTS kept (id TINYINT PRIMARY KEY, value VARCHAR(20))');
    await connection.query('REPLACE INTO kept VALUES (1, ?)', [value]);
  });
}

async function stored(servers: { redisUrl: string; mysqlUrl: string }): Promise<unknown[]> {
  const inRedis = await withRedis(servers.redisUrl, (redis) => redis.get('kept'));
  const [rows] = await withMysql(servers.mysqlUrl, (connection) =>
    connection.query<RowDataPacket[]>('SELECT value FROM kept'),
  );
  return [inRedis, ...rows.map((row): unknown => row['value'])];
}

describe('the embedded servers', () => {
  let dir: string;
  let servers: Awaited<ReturnType<typeof startBoth>>;

  beforeAll(async () => {
    // A space, because the paths of people have them.
    dir = join(await makeScratchFolder('embedded'), 'with space');
    servers = await startBoth(dir);
  });

  it('keep every write of Redis on disk and evict nothing', async () => {
    const config = await withRedis(servers.redisUrl, (redis) =>
      Promise.all(
        ['appendonly', 'appendfsync', 'maxmemory-policy', 'save', 'databases', 'bind'].map((name) =>
          redis.config('GET', name),
        ),
      ),
    );
    expect(Object.fromEntries(config as [string, string][])).toEqual({
      appendonly: 'yes',
      appendfsync: 'always',
      'maxmemory-policy': 'noeviction',
      save: '',
      databases: '16',
      bind: '127.0.0.1',
    });
  });

  it('make MariaDB strict, durable and reachable on loopback only', async () => {
    const [rows] = await withMysql(servers.mysqlUrl, (connection) =>
      connection.query<RowDataPacket[]>(
        `SELECT @@bind_address AS address, @@socket AS socket, @@log_bin AS log_bin, @@character_set_server AS charset,
                @@innodb_flush_log_at_trx_commit AS flush, @@global.sql_mode LIKE '%STRICT_ALL_TABLES%' AS strict,
                DATABASE() AS name, CURRENT_USER() AS user`,
      ),
    );
    expect(rows[0]).toEqual({
      address: '127.0.0.1',
      socket: '',
      log_bin: 0,
      charset: 'utf8mb4',
      flush: 1,
      strict: 1,
      name: 'stampede',
      user: 'stampede@127.0.0.1',
    });
  });

  it('let nobody in without the password', async () => {
    const socket = connect(Number(new URL(servers.redisUrl).port), '127.0.0.1');
    socket.end('GET kept\r\n');
    expect(await text(socket)).toMatch(/^-NOAUTH/);

    for (const [user, password] of [
      ['root', ''],
      ['stampede', ''],
      ['', ''],
    ] as const) {
      const url = new URL(servers.mysqlUrl);
      Object.assign(url, { username: user, password, pathname: '/' });
      await expect(withMysql(url.href, () => Promise.resolve())).rejects.toThrow(/denied/);
    }
  });

  it('give the account its own database and no other', async () => {
    const outside = withMysql(servers.mysqlUrl, (connection) => connection.query('CREATE DATABASE other'));
    await expect(outside).rejects.toThrow(/denied/);
  });

  it('keep folders, secrets and logs from other users, and passwords off the command line', () => {
    for (const folder of ['.', 'redis', 'mariadb', 'run', 'logs'])
      expect(modeOf(join(dir, folder)), folder).toBe('700');
    const files = ['redis-password', 'mariadb-password', 'run/redis.conf', 'run/mariadb-init.sql', 'run/redis.json'];
    for (const file of [...files, 'logs/redis.log', 'logs/mariadb.log'])
      expect(modeOf(join(dir, file)), file).toBe('600');
    for (const server of ['redis', 'mariadb'] as const) {
      const password = readFileSync(join(dir, `${server}-password`), 'utf8').trim();
      expect(password).toMatch(/^[0-9a-f]{48}$/);
      expect(readFileSync(`/proc/${pidIn(dir, server)}/cmdline`, 'utf8')).not.toContain(password);
    }
  });

  it('come back on the same port with the same data when they are killed', async () => {
    await store(servers, 'before the kill');
    const pids = [pidIn(dir, 'redis'), pidIn(dir, 'mariadb')];
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await waitFor(() => pids.every((pid) => identify(pid) === undefined), { what: 'the killed servers to be gone' });
    const value = await waitFor(() => stored(servers), { what: 'the servers to be back' });
    expect(value).toEqual(['before the kill', 'before the kill']);
  });

  it('end when they are stopped, and find their data again at the next start', async () => {
    await store(servers, 'before the stop');
    const pids = [pidIn(dir, 'redis'), pidIn(dir, 'mariadb')];
    await servers.stop();
    expect(pids.map(identify)).toEqual([undefined, undefined]);
    expect(readdirSync(join(dir, 'run')).filter((name) => name.endsWith('.json'))).toEqual([]);

    servers = await startBoth(dir);
    expect(await stored(servers)).toEqual(['before the stop', 'before the stop']);
    await servers.stop();
  });
});

describe('after a crash of the process that started them', () => {
  it('the next start stops the orphans first and finds their data', async () => {
    const dir = await makeScratchFolder('orphans');
    const owner = await startOtherProcess(
      dir,
      `import { startEmbeddedServers } from 'dist/platform/embedded/servers.js';
       import { createLog } from 'dist/platform/log.js';
       const servers = await startEmbeddedServers({ dir: ${JSON.stringify(dir)}, redis: true, mysql: true,
         report() {}, log: createLog('owner', 'silent'), onFailure() {} });
       console.log(JSON.stringify(servers));`,
    );
    const orphaned = JSON.parse(owner.firstLine) as { redisUrl: string; mysqlUrl: string };
    await store(orphaned, 'by the orphans');
    await owner.kill();
    const pids = [pidIn(dir, 'redis'), pidIn(dir, 'mariadb')];
    expect(pids.map((pid) => identify(pid)?.pid)).toEqual(pids);

    const servers = await startBoth(dir);
    expect(pids.map(identify)).toEqual([undefined, undefined]);
    expect(await stored(servers)).toEqual(['by the orphans', 'by the orphans']);
    await servers.stop();
  });
});
