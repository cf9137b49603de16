// Migrations: once, in order, under a lock, and never over a database that was migrated by other files.
import { beforeEach, expect, it } from 'vitest';
import type { RowDataPacket } from '../../platform/mysql.js';
import { connectMysql } from '../../platform/mysql.js';
import { migrate, newestMigration, schemaVersion } from '../../workers/migrations/migrate.js';
import { createTestDatabase } from '../harness/database.js';

let url: string;
beforeEach(async () => {
  url = (await createTestDatabase()).url;
});

async function query(sql: string, values: unknown[] = []): Promise<RowDataPacket[]> {
  const connection = await connectMysql(url);
  try {
    const [rows] = await connection.query<RowDataPacket[]>(sql, values);
    return rows;
  } finally {
    await connection.end();
  }
}

it('applies all to an empty database, and nothing the second time', async () => {
  const newest = await newestMigration();
  expect(await migrate(url)).toBe(newest);
  expect(await migrate(url)).toBe(0);
  const connection = await connectMysql(url);
  expect(await schemaVersion(connection).finally(() => connection.end())).toBe(newest);
});

it('applies each once when several processes start together', async () => {
  const counts = await Promise.all([migrate(url), migrate(url), migrate(url)]);
  expect(counts.sort()).toEqual([0, 0, await newestMigration()]);
});

it('refuses a migration that was changed after it was applied, and a database that is newer than this version', async () => {
  await migrate(url);
  await query("UPDATE schema_migration SET sha256 = REPEAT('0', 64) WHERE number = 1");
  await expect(migrate(url)).rejects.toThrow('0001_ledger.sql was applied with another content');
  await query("INSERT INTO schema_migration VALUES (9999, 'future', REPEAT('0', 64), NOW())");
  await expect(migrate(url)).rejects.toThrow('this version knows only');
});

it('compares ids byte by byte: users and coupons that differ in case, accent or a space are different', async () => {
  await migrate(url);
  const insert =
    'INSERT INTO coupon_claim_log (coupon_id, claim_no, user_id, claimed_at, epoch) VALUES (?, ?, ?, NOW(3), 1)';
  const users = ['a', 'A', 'à', 'a ', 'á'];
  for (const [i, user] of users.entries()) await query(insert, ['sale', i + 1, user]);
  await query(insert, ['SALE', 1, 'a']);
  await expect(query(insert, ['sale', 1, 'z'])).rejects.toThrow('Duplicate');
  await expect(query(insert, ['sale', 9, 'à'])).rejects.toThrow('Duplicate');
  await expect(query(insert, ['sale', 9, 'x'.repeat(65)])).rejects.toThrow('too long');
  expect(await query('SELECT * FROM coupon_claim_log')).toHaveLength(6);
});
