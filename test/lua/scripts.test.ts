// The loader, and the agreement between what scripts say about themselves and what they are.
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { CODE } from '../../lua/codes.js';
import { loadScripts, SCRIPT_NAMES } from '../../lua/scripts.js';
import { packagePath } from '../../platform/package-root.js';
import { makeScratchFolder } from '../harness/scratch.js';

it('knows every script in the folder', async () => {
  const files = (await readdir(packagePath('lua'))).filter((name) => name.endsWith('.lua'));
  expect(files.sort()).toEqual([...SCRIPT_NAMES].sort().map((name) => `${name}.lua`));
});

it('replaces every include', () => {
  for (const script of Object.values(loadScripts())) {
    expect(script.source).toMatch(/^#!lua/);
    expect(script.source).not.toContain('@include');
  }
});

it('has one table of codes in both languages', async () => {
  const source = await readFile(packagePath('lua', 'include', 'codes.lua'), 'utf8');
  const inLua = [...source.matchAll(/^local ([A-Z_]+) = (-?\d+)$/gm)].map(([, name, code]) => [name, Number(code)]);
  expect(inLua).toEqual(Object.entries(CODE));
});

it('refuses a bad include with file and line', async () => {
  const folder = await makeScratchFolder('lua');
  await mkdir(join(folder, 'include'));
  for (const name of SCRIPT_NAMES) await writeFile(join(folder, `${name}.lua`), '#!lua\n\n-- @include nothing\n');
  expect(() => loadScripts(folder)).toThrow('acknowledge.lua:3: bad include: -- @include nothing');
});

it.each([...SCRIPT_NAMES])('%s names in its header every key and argument it uses', async (name) => {
  const source = await readFile(packagePath('lua', `${name}.lua`), 'utf8');
  const lines = source.split('\n');
  const header = lines.filter((line) => line.startsWith('--')).join('\n');
  const body = lines.filter((line) => !line.startsWith('--')).join('\n');
  for (const [used] of body.matchAll(/(KEYS|ARGV)\[\d+\]/g)) expect(header).toContain(used);
});
