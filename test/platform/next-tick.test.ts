import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { NODE_OPTIONS_OF_ROLE } from '../../cluster/primary/node-options.js';
import { packagePath } from '../../platform/package-root.js';

/** Between 1, and the 3 to 5 that it is without the tick that is kept. */
const DEARER = 2;

async function priceAfterCollections(...options: readonly string[]): Promise<number> {
  const program = packagePath('test', 'platform', 'next-tick-price.mjs');
  const { stdout } = await promisify(execFile)(process.execPath, [...options, '--expose-gc', program]);
  return Number(stdout);
}

it('lets a tick cost after full collections what it cost before them', async () => {
  expect(await priceAfterCollections(...NODE_OPTIONS_OF_ROLE.ledger)).toBeLessThan(DEARER);
  // Once this fails, Node needs no kept tick any more (docs/decisions/0019-one-tick-is-kept.md).
  expect(await priceAfterCollections()).toBeGreaterThan(DEARER);
});
