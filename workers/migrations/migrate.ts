// Applies the numbered SQL files beside this one, each once, in order, under a lock. Files are immutable: one that was
// applied and reads differently now is refused. Touches MySQL only.
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import type { Connection, Queryable, ResultSetHeader, RowDataPacket } from '../../platform/mysql.js';
import { connectMysql, MIGRATION_TIMEOUT_MS } from '../../platform/mysql.js';
import { ConfigurationError } from '../../platform/errors.js';
import { packagePath } from '../../platform/package-root.js';

const LOCK_NAME = 'stampede_migrations';
/** How long one process waits for another one that is migrating. */
const LOCK_WAIT_S = 60;
/** For a look at the version, which a start waits for. */
const LOOK_TIMEOUT_MS = 2_000;
const FILE_NAME = /^(\d{4})_[a-z0-9_]+\.sql$/;

interface Migration {
  readonly number: number;
  readonly name: string;
  readonly sql: string;
  readonly sha256: string;
}

/**
 * Brings the database to the newest schema and returns how many migrations it applied. MySQL commits DDL as it goes: a
 * migration that fails half way is reported and stays unapplied. Throws `ConfigurationError` when the database was
 * migrated by other files than these.
 */
export async function migrate(mysqlUrl: string, report: (line: string) => void = () => undefined): Promise<number> {
  const migrations = await readMigrations();
  const connection = await connectMysql(mysqlUrl, { multipleStatements: true, queryTimeoutMs: MIGRATION_TIMEOUT_MS });
  try {
    // The lock belongs to the connection that runs the statements, so it cannot outlive or underlive them.
    const [locked] = await connection.query<RowDataPacket[]>('SELECT GET_LOCK(?, ?) AS got', [LOCK_NAME, LOCK_WAIT_S]);
    if (locked[0]?.['got'] !== 1) throw new Error(`another process is migrating for more than ${LOCK_WAIT_S} s`);
    return await applyMissing(connection, migrations, report);
  } finally {
    await connection.end();
  }
}

/**
 * Throws `ConfigurationError` when a newer version has migrated the database: this one does not know what its tables promise.
 * Rejects with MySQL's error when it does not answer.
 */
export async function refuseNewerSchema(mysqlUrl: string): Promise<void> {
  const connection = await connectMysql(mysqlUrl, { queryTimeoutMs: LOOK_TIMEOUT_MS });
  try {
    refuseNewer(await schemaVersion(connection), await newestMigration());
  } finally {
    await connection.end();
  }
}

function refuseNewer(applied: number, known: number): void {
  if (applied <= known) return;
  throw new ConfigurationError(`MYSQL_URL: the database is at migration ${applied}, this version knows only ${known}.`);
}

/** The number of the newest migration that is applied, 0 for an empty database. */
export async function schemaVersion(connection: Queryable): Promise<number> {
  const [tables] = await connection.query<RowDataPacket[]>("SHOW TABLES LIKE 'schema_migration'");
  if (tables.length === 0) return 0;
  const [rows] = await connection.query<RowDataPacket[]>(
    'SELECT COALESCE(MAX(number), 0) AS newest FROM schema_migration',
  );
  return Number(rows[0]?.['newest']);
}

/** The number of the newest migration file: what `schemaVersion` must have reached. */
export async function newestMigration(): Promise<number> {
  return (await readMigrations()).at(-1)?.number ?? 0;
}

async function readMigrations(): Promise<Migration[]> {
  const folder = packagePath('workers', 'migrations');
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sql')).sort();
  return await Promise.all(
    names.map(async (name, index) => {
      const number = Number(FILE_NAME.exec(name)?.[1]);
      if (number !== index + 1) throw new ConfigurationError(`migration file ${name} is not number ${index + 1}`);
      const sql = await readFile(packagePath('workers', 'migrations', name), 'utf8');
      return { number, name, sql, sha256: createHash('sha256').update(sql).digest('hex') };
    }),
  );
}

async function applyMissing(
  connection: Connection,
  migrations: readonly Migration[],
  report: (line: string) => void,
): Promise<number> {
  await connection.query(
    `CREATE TABLE IF NOT EXISTS schema_migration (
       number INT UNSIGNED NOT NULL PRIMARY KEY,
       name VARBINARY(255) NOT NULL,
       sha256 BINARY(64) NOT NULL,
       applied_at DATETIME(3) NOT NULL
     ) ENGINE = InnoDB`,
  );
  const [rows] = await connection.query<RowDataPacket[]>('SELECT number, sha256 FROM schema_migration ORDER BY number');
  const applied = new Map(rows.map((row) => [Number(row['number']), String(row['sha256'])]));
  refuseNewer([...applied.keys()].at(-1) ?? 0, migrations.length);
  let count = 0;
  for (const migration of migrations) {
    const sha256 = applied.get(migration.number);
    if (sha256 === migration.sha256) continue;
    if (sha256 !== undefined)
      throw new ConfigurationError(`MYSQL_URL: ${migration.name} was applied with another content.`);
    report(`applying ${migration.name}`);
    await connection.query(migration.sql);
    await connection.query<ResultSetHeader>('INSERT INTO schema_migration VALUES (?, ?, ?, UTC_TIMESTAMP(3))', [
      migration.number,
      migration.name,
      migration.sha256,
    ]);
    count++;
  }
  return count;
}
