// What this project takes from others: exact versions, each direct one with its reason, nothing that runs at installation,
// nothing under a licence that would bind whoever runs the service, nothing that needs a newer Node.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { packagePath } from '../platform/package-root.js';

interface Package {
  readonly version: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly hasInstallScript?: boolean;
  readonly engines?: { readonly node?: string };
}
interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly overrides: Readonly<Record<string, string>>;
}
const readJson = async (...path: string[]): Promise<unknown> =>
  JSON.parse(await readFile(packagePath(...path), 'utf8')) as unknown;

const manifest = (await readJson('package.json')) as Manifest;
const lock = (await readJson('package-lock.json')) as { packages: Record<string, Package> };
const packages = Object.entries(lock.packages).filter(([path]) => path !== '');
const direct = { ...manifest.dependencies, ...manifest.devDependencies };
const documentation = await readFile(packagePath('docs', 'dependencies.md'), 'utf8');

/** What whoever runs or passes on the service may take without further duties than naming the authors. */
const LICENCES = ['MIT', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause', 'Apache-2.0', 'BlueOak-1.0.0', '0BSD', 'Python-2.0'];
/** Weak copyleft on its own files: fine for tools that are not passed on. */
const LICENCES_OF_TOOLS = [...LICENCES, 'MPL-2.0', 'CC-BY-4.0'];
/** An optional native part of BullMQ's serialiser, which works without it. */
const MAY_HAVE_INSTALL_SCRIPT = ['node_modules/msgpackr-extract'];

test('versions are exact, in the manifest and in the lockfile, and the lockfile names no registry', () => {
  for (const [name, version] of Object.entries({ ...direct, ...manifest.overrides })) {
    expect([name, version]).toEqual([name, expect.stringMatching(/^\d+\.\d+\.\d+$/)]);
  }
  for (const [name, version] of Object.entries(direct)) {
    expect([name, lock.packages[`node_modules/${name}`]?.version]).toEqual([name, version]);
  }
  expect(packages.filter(([, { integrity = '' }]) => !integrity.startsWith('sha512-'))).toEqual([]);
  expect(packages.filter(([, { resolved }]) => resolved !== undefined)).toEqual([]);
});

test('docs/dependencies.md has a reason for each, and names none that is gone', () => {
  const named = (text: string): string[] =>
    [...text.matchAll(/^\| ([^|]+?) +\|/gm)]
      .flatMap(([, cell = '']) => cell.split(', '))
      .filter((cell) => !/^(package|tool|-+)$/.test(cell))
      .sort();
  const [ofService = '', ofTools = ''] = documentation.split('Development only');
  expect(named(ofService)).toEqual(Object.keys(manifest.dependencies).sort());
  expect(named(ofTools)).toEqual(Object.keys(manifest.devDependencies).sort());
});

test('every licence lets the service be run and passed on', async () => {
  const licences = new Set<string>();
  for (const [path, { dev = false }] of packages) {
    // Parts for other platforms are in the lockfile only.
    if (!existsSync(packagePath(path, 'package.json'))) continue;
    const { license } = (await readJson(path, 'package.json')) as { license?: string };
    licences.add(license ?? 'none');
    expect([path, dev ? LICENCES_OF_TOOLS : LICENCES]).toEqual([path, expect.arrayContaining([license ?? 'none'])]);
  }
  expect(licences.size).toBeGreaterThan(3);
});

test('no install script is needed', async () => {
  const scripted = packages.filter(([, { hasInstallScript }]) => hasInstallScript === true);
  expect(scripted.map(([path]) => path)).toEqual(MAY_HAVE_INSTALL_SCRIPT);
  expect(scripted.every(([, { optional }]) => optional === true)).toBe(true);
  // As on a machine on which its script did not run, or the package is missing.
  const script = `
    const Module = require('node:module');
    const resolve = Module._resolveFilename;
    let missed = 0;
    Module._resolveFilename = function (name, ...rest) {
      if (name.includes('msgpackr-extract')) { missed++; throw new Error('not there'); }
      return resolve.call(this, name, ...rest);
    };
    console.log(typeof require('bullmq').Queue, missed);`;
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', script], { cwd: packagePath() });
  expect(stdout).toMatch(/^function [1-9]/);
});

test('everything runs on the oldest Node that the manifest allows', () => {
  const tooNew = packages.filter(([, { engines }]) => /^>= ?(2[1-9]|[3-9]\d)/.test(engines?.node ?? ''));
  expect(tooNew.map(([path, { engines }]) => `${path}: ${engines?.node ?? ''}`)).toEqual([]);
});
