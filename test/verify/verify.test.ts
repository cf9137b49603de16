// `npm run verify` as people run it, short and with few faults: it keeps its promise to notice, to report and to stop
// everything. Longer runs with every fault are for people and for the nightly machine. One run at a time: each is two instances, and
// a machine that starts six of them at once may be too slow for all.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { packagePath } from '../../platform/package-root.js';
import type { Report } from '../../verify/report.js';
import { processesBelow } from '../harness/left-behind.js';
import { makeScratchFolder } from '../harness/scratch.js';

const FAULTS = [
  'kill-http',
  'kill-ledger',
  'kill-admin',
  'kill-redis',
  'pause-http',
  'cut-mysql-replies',
  'script-flush',
  'mysql-deadlocks',
];
const EARLY_ACKNOWLEDGEMENT = packagePath('test', 'verify', 'early-acknowledgement.mjs');
/** It takes about a minute; a busy machine is no failure. */
const RUN_TIMEOUT_MS = 300_000;

function startVerify(dir: string, ...args: readonly string[]) {
  return spawn(process.execPath, [packagePath('dist', 'verify', 'main.js'), ...args], {
    cwd: dir,
    env: { ...process.env, TMPDIR: dir },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

it('finds every promise kept in a short run with a few faults', { timeout: RUN_TIMEOUT_MS }, async () => {
  const dir = await makeScratchFolder('verify');
  const args = ['--minutes', '0.4', '--seed', '3', '--faults', FAULTS.join(','), '--json'];
  const verify = startVerify(dir, ...args, '--out', 'out');
  const [output, errors] = await Promise.all([text(verify.stdout), text(verify.stderr), once(verify, 'close')]);
  expect(output, errors).toMatch(/^\{/);
  const report = JSON.parse(output) as Report;

  const broken = report.verdict.checks.filter((check) => check.violations > 0);
  expect(broken).toEqual([]);
  expect(verify.exitCode).toBe(0);
  // What was looked at is worth something only if there was something to look at.
  const idle = report.verdict.checks.filter((check) => check.checked === 0).map((check) => check.name);
  expect(idle).toEqual([]);
  expect(new Set(report.faults.map((fault) => fault.fault))).toEqual(new Set(FAULTS));
  expect(report.claims).toBeGreaterThan(0);
  expect(await readFile(join(dir, 'out', 'seed-3', 'timeline.svg'), 'utf8')).toMatch(
    /^<svg [^]*kill-ledger[^]*<\/svg>\n$/,
  );
  expect(await processesBelow(dir)).toEqual([]);
  expect(await readdir(dir)).toEqual(['out']);
});

it('finds claims lost by a ledger that acknowledges before it commits', { timeout: RUN_TIMEOUT_MS }, async () => {
  const dir = await makeScratchFolder('verify');
  // By this seed the ledgers of both instances are killed while MariaDB stands still.
  const args = ['--minutes', '0.25', '--seed', '21', '--faults', 'kill-ledger,full-outbox', '--json'];
  const verify = startVerify(dir, ...args, '--out', 'out', '--preload', EARLY_ACKNOWLEDGEMENT);
  const [output, errors] = await Promise.all([text(verify.stdout), text(verify.stderr), once(verify, 'close')]);
  expect(output, errors).toMatch(/^\{/);
  const report = JSON.parse(output) as Report;
  expect(report.faults.map(({ fault, hits }) => [fault, hits > 0])).toEqual([
    ['kill-ledger', true],
    ['kill-ledger', true],
    ['full-outbox', true],
  ]);
  expect(report.verdict.checks.find((check) => check.name === 'lost')).not.toMatchObject({ violations: 0 });
  expect(verify.exitCode).toBe(1);
});

it('stops everything it started on Ctrl-C', { timeout: RUN_TIMEOUT_MS }, async () => {
  const dir = await makeScratchFolder('verify');
  const verify = startVerify(dir, '--minutes', '60', '--faults', 'none');
  let errors = '';
  verify.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    errors += chunk;
    if (chunk.includes('Load for')) verify.kill('SIGINT');
  });
  await once(verify, 'close');
  expect(errors).toContain('interrupted, everything is stopped');
  expect(verify.exitCode).toBe(1);
  expect(await processesBelow(dir)).toEqual([]);
  expect(await readdir(dir)).toEqual([]);
});

it('refuses faults that it does not know', async () => {
  const dir = await makeScratchFolder('verify');
  const verify = startVerify(dir, '--faults', 'kill-http,earthquake');
  const [errors] = await Promise.all([text(verify.stderr), once(verify, 'close')]);
  expect(errors).toContain('Known faults: kill-http, ');
  expect(verify.exitCode).not.toBe(0);
});
