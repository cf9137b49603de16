// A database of its own for a test file, on the MariaDB that all files share.
import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import { connectMysql } from '../../platform/mysql.js';
import { atEndOfFile } from './cleanup.js';
import { TEST_DATABASE_PREFIX } from './provided.js';

export interface TestDatabase {
  /** Of an account that may do anything in it. */
  readonly url: string;
  /** Done at the end of the file in any case. */
  drop(): Promise<void>;
}

/** Makes an empty database (utf8mb4, compared by bytes) on the server at `serverUrl`, by default the shared one. */
export async function createTestDatabase(serverUrl: string = inject('sharedMysqlUrl')): Promise<TestDatabase> {
  const name = TEST_DATABASE_PREFIX + randomBytes(8).toString('hex');
  await runSql(serverUrl, 'CREATE DATABASE ?? CHARACTER SET utf8mb4 COLLATE utf8mb4_bin', name);
  const drop = (): Promise<void> => runSql(serverUrl, 'DROP DATABASE IF EXISTS ??', name);
  if (serverUrl === inject('sharedMysqlUrl')) atEndOfFile(drop);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return { url: url.href, drop };
}

async function runSql(url: string, statement: string, name: string): Promise<void> {
  const connection = await connectMysql(url);
  try {
    await connection.query(statement, [name]);
  } finally {
    await connection.end();
  }
}
