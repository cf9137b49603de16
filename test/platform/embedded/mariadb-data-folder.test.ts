import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, inject, it } from 'vitest';
import { provideDataFolder } from '../../../platform/embedded/mariadb-data-folder.js';
import { startMariadbServer } from '../../../platform/embedded/mariadb-server.js';
import { ConfigurationError } from '../../../platform/errors.js';
import { atEndOfFile } from '../../harness/cleanup.js';
import { makeScratchFolder } from '../../harness/scratch.js';
import { silentLog, withMysql } from './embedded-harness.js';

describe('the data folder of MariaDB', () => {
  let dir: string;
  const { mariadb: executables } = inject('executables');
  if (executables === undefined) throw new Error('the global setup provides MariaDB');
  const context = { log: silentLog, report: () => undefined, onFailure: () => undefined };

  beforeEach(async () => {
    dir = await makeScratchFolder('data');
  });

  it('that a crash left half made is thrown away', async () => {
    const half = join(dir, 'mariadb.partial-Ab12Cd');
    await mkdir(join(half, 'mysql'), { recursive: true });
    await writeFile(join(half, 'ibdata1'), 'half');

    const server = await startMariadbServer({ dir, executables }, context);
    atEndOfFile(() => server.stop());
    await withMysql(server.url, (connection) => connection.query('CREATE TABLE works (a INT)'));
    await server.stop();
    expect((await readdir(dir)).filter((name) => name.startsWith('mariadb.partial'))).toEqual([]);
  });

  it('does not appear while it is being made, and can be made after an interruption', async () => {
    const interruption = new AbortController();
    const folder = join(dir, 'mariadb');
    const report = (): void => {
      interruption.abort();
    };
    await expect(provideDataFolder(folder, executables, { report, signal: interruption.signal })).rejects.toThrow(
      /abort/i,
    );
    expect(await readdir(dir)).not.toContain('mariadb');

    await provideDataFolder(folder, executables, { report: () => undefined });
    expect(await readdir(dir)).toEqual(['mariadb']);
  });

  it('is not touched when it is something else', async () => {
    await mkdir(join(dir, 'mariadb'));
    await writeFile(join(dir, 'mariadb', 'letters.txt'), 'dear');
    const refused = startMariadbServer({ dir, executables }, context);
    await expect(refused).rejects.toThrow(ConfigurationError);
    await expect(refused).rejects.toThrow(/is not a MariaDB data folder/);
    expect(await readdir(join(dir, 'mariadb'))).toEqual(['letters.txt']);
  });
});
