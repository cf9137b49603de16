// A short run of the leak lab: some leaks are named at their line, their mended twins are not accused. The whole lab is
// `npm run lab`.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { CASE_NAMES } from '../../../diagnostics/lab/cases.js';

const MAIN = fileURLToPath(new URL('../../../dist/diagnostics/lab/main.js', import.meta.url));
const CASES = fileURLToPath(new URL('../../../diagnostics/lab/cases/', import.meta.url));
const RUN_TIMEOUT_MS = 90_000;

function lab(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8', timeout: RUN_TIMEOUT_MS });
}

describe('the leak lab', () => {
  it.each(['lost-resolver', 'forgotten-interval', 'listener-pile-up'])(
    'names the line of %s and leaves its twin alone',
    (name) => {
      const { status, stdout } = lab('--only', name, '--seconds', '12', '--window', '2.5');
      expect(stdout).toContain('No miss, no false alarm.');
      expect(stdout).toContain(`right ${name}.ts:`);
      expect(status).toBe(0);
    },
    RUN_TIMEOUT_MS,
  );

  it('knows all of its cases', () => {
    const files = readdirSync(CASES).map((file) => file.replace(/\.ts$/, ''));
    expect(files.filter((file) => file !== 'pool-task-thread').toSorted()).toEqual([...CASE_NAMES].toSorted());
  });

  it('refuses a case that it does not know, and names those it does', () => {
    const { status, stderr } = lab('--only', 'nothing');
    expect(status).not.toBe(0);
    expect(stderr).toContain('lost-resolver');
  });
});
