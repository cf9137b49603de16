import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { NODE_OPTIONS_OF_ROLE } from '../../cluster/primary/node-options.js';
import { packagePath } from '../../platform/package-root.js';

/** Between 1, and the 3 to 5 that it is without the tick that is kept. */
const DEARER = 2;

async function priceAfterCollections(options: readonly string[], where: 'main' | 'thread'): Promise<number> {
  const program = packagePath('test', 'platform', 'next-tick-price.mjs');
  const { stdout } = await promisify(execFile)(process.execPath, [...options, '--expose-gc', program, where]);
  return Number(stdout);
}

it.each(['main', 'thread'] as const)(
  'lets a tick cost after full collections what it cost before them: %s',
  async (where) => {
    expect(await priceAfterCollections(NODE_OPTIONS_OF_ROLE.ledger, where)).toBeLessThan(DEARER);
    // Once this fails, Node needs no kept tick any more (docs/decisions/0019-one-tick-is-kept.md).
    expect(await priceAfterCollections([], where)).toBeGreaterThan(DEARER);
  },
);
