import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { thisMachine } from '../../../platform/embedded/executables.js';
import { provideExecutables } from '../../../platform/embedded/provide-executables.js';
import { provideProgram } from '../../../platform/embedded/provide-program.js';
import { ConfigurationError } from '../../../platform/errors.js';
import { makeScratchFolder } from '../../harness/scratch.js';

function search(machine: { searchPath: string[]; isRoot?: boolean }, which = { redis: true, mysql: true }) {
  return provideExecutables({ ...which, machine: { isRoot: false, ...machine }, report: () => undefined });
}

/** A folder on the search path that holds nothing but links, e.g. `{ 'apt-get': '/usr/bin/true' }`. */
async function folderOf(links: Record<string, string>): Promise<string> {
  const folder = join(await makeScratchFolder('path'), 'bin');
  await mkdir(folder);
  for (const [name, target] of Object.entries(links)) await symlink(target, join(folder, name));
  return folder;
}

describe('provideExecutables', () => {
  it('finds both servers on this machine', async () => {
    const found = await provideExecutables({
      redis: true,
      mysql: true,
      machine: thisMachine(),
      report: () => undefined,
    });
    expect(found.redis?.path).toMatch(/redis/);
    expect(found.mariadb?.server.path).toMatch(/mariadbd$/);
  });

  it('looks for nothing that is not asked for', async () => {
    const found = await search({ searchPath: [] }, { redis: false, mysql: false });
    expect(found).toMatchObject({ redis: undefined, mariadb: undefined });
  });

  it('tells a user who may not install the one command to run', async () => {
    const searchPath = [await folderOf({ 'apt-get': '/bin/true' })];
    const missing = search({ searchPath });
    await expect(missing).rejects.toThrow(ConfigurationError);
    await expect(missing).rejects.toThrow(
      'redis-server is missing; mariadbd is missing. Run: ' +
        "sudo sh -c 'apt-get update && apt-get install --yes --no-install-recommends redis-tools mariadb-server-core', " +
        'or set REDIS_URL and MYSQL_URL to servers of your own',
    );
    await expect(search({ searchPath }, { redis: true, mysql: false })).rejects.toThrow(
      /install --yes --no-install-recommends redis-tools', or set REDIS_URL to/,
    );
  });

  it('says what to do where there is no apt-get', async () => {
    const missing = search({ searchPath: [], isRoot: true });
    await expect(missing).rejects.toThrow(ConfigurationError);
    await expect(missing).rejects.toThrow(/package manager of this machine, or set REDIS_URL and MYSQL_URL/);
  });

  it('names a program that is there but cannot be used', async () => {
    const folder = await folderOf({ 'redis-server': '/bin/false' });
    await expect(search({ searchPath: [folder] }, { redis: true, mysql: false })).rejects.toThrow(
      `${folder}/redis-server does not tell its version`,
    );
  });

  it('says why an installation did not help', async () => {
    const failing = search({ searchPath: [await folderOf({ 'apt-get': '/bin/false' })], isRoot: true });
    await expect(failing).rejects.toThrow(/apt-get install .* failed: .*\. Install them by hand, or set REDIS_URL/);
  });
});

describe('provideProgram', () => {
  const provide = (machine: { searchPath: string[]; isRoot?: boolean }, ...names: string[]) =>
    provideProgram({ names, debianPackage: 'wrk', machine: { isRoot: false, ...machine }, report: () => undefined });

  it('finds the preferred one of its names', async () => {
    const folder = await folderOf({ other: '/bin/true', chosen: '/bin/true' });
    expect(await provide({ searchPath: [folder] }, 'none', 'chosen', 'other')).toBe(join(folder, 'chosen'));
  });

  it('says what to run where it may not install, and why an installation did not help', async () => {
    const missing = provide({ searchPath: [await folderOf({ 'apt-get': '/bin/true' })] }, 'wrk');
    await expect(missing).rejects.toThrow(ConfigurationError);
    await expect(missing).rejects.toThrow(
      "wrk is missing. On Debian or Ubuntu run: sudo sh -c 'apt-get update && apt-get install --yes --no-install-recommends wrk'.",
    );
    const failing = provide({ searchPath: [await folderOf({ 'apt-get': '/bin/false' })], isRoot: true }, 'wrk');
    await expect(failing).rejects.toThrow(/wrk is missing\. `apt-get .* wrk` failed: .*\. Install it by hand\./);
  });
});
