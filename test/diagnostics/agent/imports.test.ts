// The agent is for any Node program: what the preload loads comes from diagnostics/, from Node and from pprof-format alone.
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';

const ROOM = path.resolve(import.meta.dirname, '../../../diagnostics');
const PARTS = ['agent', 'collection', 'detector', 'endpoints', 'gather', 'heap', 'pprof', 'recorder'];
const PACKAGES = ['pprof-format'];

test('the agent imports nothing of this project outside diagnostics/', async () => {
  const names = await Promise.all(PARTS.map(async (part) => readdir(path.join(ROOM, part), { recursive: true })));
  const files = [
    'model.ts',
    'register.ts',
    'start.ts',
    'verify-no-leaks.ts',
    ...PARTS.flatMap((part, i) => (names[i] ?? []).map((n) => `${part}/${n}`)),
  ];
  const sources = files.filter((file) => file.endsWith('.ts'));
  expect(sources.length).toBeGreaterThan(30);
  const strangers: string[] = [];
  for (const file of sources) {
    const source = await readFile(path.join(ROOM, file), 'utf8');
    for (const [, specifier = ''] of source.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)) {
      const target = path.resolve(path.dirname(path.join(ROOM, file)), specifier);
      const isOwn = specifier.startsWith('.') && target.startsWith(ROOM + path.sep);
      if (!isOwn && !specifier.startsWith('node:') && !PACKAGES.includes(specifier))
        strangers.push(`${file}: ${specifier}`);
    }
  }
  expect(strangers).toEqual([]);
});
