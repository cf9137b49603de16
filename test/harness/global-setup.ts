// Once per run: finds (or installs) the servers' programs, starts the one MariaDB that all test files share, and makes
// the run's scratch folder. At the end it stops MariaDB, and fails the run if a test left a process behind.
//
// The data stays in .stampede/test/<place>/ for the next run. Two runs at once in one checkout take two places. What a
// killed run left behind, processes and databases, goes at the start of the next run in its place.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import type { Executables } from '../../platform/embedded/provide-executables.js';
import type { FolderLock } from '../../platform/embedded/folder-lock.js';
import { lockFolder } from '../../platform/embedded/folder-lock.js';
import { thisMachine } from '../../platform/embedded/executables.js';
import { mariadbProgram, prepareMariadb } from '../../platform/embedded/mariadb-server.js';
import { provideExecutables } from '../../platform/embedded/provide-executables.js';
import { readIfThere, writePrivateFile } from '../../platform/embedded/private-files.js';
import type { ServerProcess } from '../../platform/embedded/server-process.js';
import { startOnFreePort } from '../../platform/embedded/server-process.js';
import { ConfigurationError } from '../../platform/errors.js';
import { createLog } from '../../platform/log.js';
import type { RowDataPacket } from '../../platform/mysql.js';
import { connectMysql } from '../../platform/mysql.js';
import { packagePath } from '../../platform/package-root.js';
import { endProcessesBelow } from './left-behind.js';
import { TEST_BUFFER_POOL_MB, TEST_DATABASE_PREFIX } from './provided.js';

const PLACES_MAX = 16;

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const report = (step: string): void => console.log(step);
  const executables = await provideExecutables({ redis: true, mysql: true, machine: thisMachine(), report });
  if (executables.mariadb === undefined) throw new Error('MariaDB was asked for');
  const { lock, place } = await takePlace();

  const scratchRecord = join(place, 'scratch-folder');
  await endAndRemove(await readIfThere(scratchRecord));
  // In the system's folder for its short path: Unix sockets may be made below, and theirs are limited to 107 bytes.
  const scratchFolder = await mkdtemp(join(tmpdir(), 'stampede-test-'));
  await writePrivateFile(scratchRecord, scratchFolder);

  const mariadb = await startSharedMariadb(place, executables.mariadb, report);
  await dropTestDatabases(mariadb.url);
  project.provide('sharedMysqlUrl', mariadb.url);
  project.provide('executables', executables);
  project.provide('scratchFolder', scratchFolder);

  return async () => {
    const left = await endAndRemove(scratchFolder);
    await mariadb.stop();
    await lock.release();
    if (left.length === 0) return;
    // Vitest prints the error of a teardown, but counts the run as passed.
    process.exitCode = 1;
    throw new Error(`tests left processes behind:\n${left.join('\n')}`);
  };
}

async function takePlace(): Promise<{ lock: FolderLock; place: string }> {
  for (let number = 1; ; number++) {
    const place = packagePath('.stampede', 'test', String(number));
    try {
      return { lock: await lockFolder(place), place };
    } catch (error) {
      if (!(error instanceof ConfigurationError) || number === PLACES_MAX) throw error;
    }
  }
}

async function startSharedMariadb(
  dir: string,
  executables: NonNullable<Executables['mariadb']>,
  report: (step: string) => void,
): Promise<ServerProcess> {
  const options = { dir, executables, mayCreateDatabases: true, bufferPoolMb: TEST_BUFFER_POOL_MB };
  const context = { log: createLog('test', 'silent'), report };
  const program = await mariadbProgram(options);
  await prepareMariadb(options, program, context);
  return startOnFreePort(program, context);
}

async function dropTestDatabases(url: string): Promise<void> {
  const connection = await connectMysql(url);
  try {
    const [rows] = await connection.query<(RowDataPacket & { name: string })[]>(
      'SELECT schema_name AS name FROM information_schema.schemata WHERE LEFT(schema_name, ?) = ?',
      [TEST_DATABASE_PREFIX.length, TEST_DATABASE_PREFIX],
    );
    for (const { name } of rows) await connection.query('DROP DATABASE ??', [name]);
  } finally {
    await connection.end();
  }
}

/** Returns the processes that were still there. */
async function endAndRemove(scratchFolder: string | undefined): Promise<string[]> {
  if (scratchFolder === undefined) return [];
  // Whatever removed the folder (the system tidies its temporary ones up) left nothing to find processes by.
  const left = await endProcessesBelow(scratchFolder).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  });
  await rm(scratchFolder, { recursive: true, force: true });
  return left;
}
