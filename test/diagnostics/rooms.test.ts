// Diagnostics serve any Node program: nothing under diagnostics/ imports another room of this project.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const ROOM = join(ROOT, 'diagnostics');
const IMPORT = /(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]/g;

const files = readdirSync(ROOM, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));

it('has files', () => {
  expect(files.length).toBeGreaterThan(10);
});

it.each(files)('diagnostics/%s imports from diagnostics/ and libraries only', (file) => {
  const path = join(ROOM, file);
  const imported = [...readFileSync(path, 'utf8').matchAll(IMPORT)].map(([, name = '']) =>
    relative(ROOM, resolve(dirname(path), name)),
  );
  expect(imported.filter((name) => name.startsWith('..'))).toEqual([]);
});
