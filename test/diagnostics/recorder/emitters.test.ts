// Listeners that pile up, in a real program (emitters.mjs) in a process of its own: what is watched is the whole process'.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import type { SiteSample } from '../../../diagnostics/model.js';

const PROGRAM = new URL('emitters.mjs', import.meta.url);
const COUNT = 20;
/** Node's usual number of listeners, which is not recorded. */
const UNRECORDED_LISTENERS = 10;

const TIMEOUT_MS = 20_000;

interface Seen {
  readonly sites: readonly SiteSample[];
  readonly isFree: boolean;
  readonly isRestored: boolean;
}

let seen: Seen;
beforeAll(() => {
  const output = execFileSync(process.execPath, ['--no-warnings', fileURLToPath(PROGRAM)], {
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
  });
  seen = JSON.parse(output) as Seen;
});

const sitesOf = (event: string): SiteSample[] => seen.sites.filter(({ type }) => type === `'${event}' listener`);

describe('listeners on an emitter', () => {
  it('are recorded from the one on of which Node warns, also where warnings are not printed', () => {
    const [site, ...more] = sitesOf('warned');
    expect(more).toEqual([]);
    // The eleventh is the one that Node warns of; the emitter is watched from then on.
    expect(site).toMatchObject({ kind: 'listener', live: COUNT - UNRECORDED_LISTENERS - 1 });
    expect(site?.stack[0]?.file).toBe(PROGRAM.href);
  });

  it('count once where one method of the emitter calls the other, and not at all where none is added', () => {
    expect(sitesOf('twice')).toMatchObject([{ live: COUNT - UNRECORDED_LISTENERS }]);
    expect(sitesOf('refused')).toEqual([]);
  });

  it('cost nothing as long as there are few', () => {
    expect(seen.isFree).toBe(true);
  });

  it('are recorded on every emitter of a program that has told Node never to warn', () => {
    expect(sitesOf('forbidden')).toMatchObject([{ live: COUNT - UNRECORDED_LISTENERS }]);
  });

  it('leave no trace after stop', () => {
    expect(seen.isRestored).toBe(true);
  });
});
