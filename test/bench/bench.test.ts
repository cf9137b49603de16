// The benchmark as a program, as small as it gets. What is tested is that it measures what it says and leaves nothing
// behind; no figure is, because none is the same on another machine.
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import type { ClaimsResult } from '../../bench/claims-result.js';
import type { BenchRun } from '../../bench/run.js';
import type { ScriptResult } from '../../bench/scripts.js';
import { packagePath } from '../../platform/package-root.js';
import { processesBelow } from '../harness/left-behind.js';
import { makeScratchFolder } from '../harness/scratch.js';

/** Of one load at the short scale. */
const REQUESTS = 2_000;
/** It takes about 25 s; a busy machine is no failure. */
const BENCH_TIMEOUT_MS = 180_000;

it('tells the CPU time of every process and of the script alone, as JSON', { timeout: BENCH_TIMEOUT_MS }, async () => {
  const dir = await makeScratchFolder('bench');
  const bench = startBench(dir, '--json', '--short', '--only', 'claims', 'scripts');
  const [output, errors] = await Promise.all([text(bench.stdout), text(bench.stderr), once(bench, 'close')]);
  expect(bench.exitCode, errors).toBe(0);
  const { machine, parts, scale, rounds: roundsOfRun } = JSON.parse(output) as BenchRun;
  const [claims, scripts] = parts.map(({ result }) => result?.raw) as [ClaimsResult, readonly ScriptResult[]];

  expect([scale, roundsOfRun]).toEqual(['short', 1]);
  expect(machine.node).toBe(process.versions.node);
  expect(machine.redis).toBe(claims.servers.redis);
  expect(claims.servers.mariadb).toContain(machine.mariadb);
  expect(machine.commit).toMatch(/^([0-9a-f]{12}\+?|unknown)$/);
  expect(claims.scenarios.map(({ scenario, answers, unanswered }) => ({ scenario, answers, unanswered }))).toEqual([
    { scenario: 'baseline', answers: { '201 claimed': REQUESTS }, unanswered: 0 },
    { scenario: 'claimed', answers: { '201 claimed': REQUESTS }, unanswered: 0 },
    { scenario: 'already_claimed', answers: { '200 already_claimed': REQUESTS }, unanswered: 0 },
    { scenario: 'sold_out', answers: { '409 sold_out': REQUESTS }, unanswered: 0 },
  ]);
  for (const {
    scenario,
    cpuMicrosPerRequest,
    httpRatio,
    rounds,
    claimsPerScriptCall,
    rowsPerCommit,
  } of claims.scenarios) {
    const ofService = scenario !== 'baseline';
    const kinds = ofService ? ['http', 'redis', 'ledger', 'mariadb', 'admin', 'primary'] : ['http'];
    expect(Object.keys(cpuMicrosPerRequest)).toEqual(kinds);
    expect(cpuMicrosPerRequest.http?.median).toBeGreaterThan(0);
    expect(httpRatio.median).toBeGreaterThan(0);
    expect(rounds).toHaveLength(1);
    // A batch holds at least the one claim it is sent for, and at most one of each connection.
    expect(claimsPerScriptCall === undefined).toBe(!ofService);
    if (claimsPerScriptCall !== undefined) expect(claimsPerScriptCall.median).toBeLessThanOrEqual(256);
    expect(rowsPerCommit === undefined).toBe(scenario !== 'claimed');
  }

  const cells = scripts.map(({ persistence, outcome, batchSize }) => `${persistence} ${outcome} ${batchSize}`);
  expect(new Set(cells).size).toBe(2 * 3 * 4);
  for (const { claims: measured, redisCpuMicrosPerClaim } of scripts) {
    expect(measured).toBe(REQUESTS);
    expect(redisCpuMicrosPerClaim.median).toBeGreaterThan(0);
  }
  expect(await processesBelow(dir)).toEqual([]);
  expect(await readdir(dir)).toEqual([]);
});

it('stops everything it started on Ctrl-C', { timeout: BENCH_TIMEOUT_MS }, async () => {
  const dir = await makeScratchFolder('bench');
  const bench = startBench(dir, '--only', 'claims', '--rounds', '100', '--requests', '100000');
  let errors = '';
  bench.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    errors += chunk;
    // Everything runs by now, and the load is about to.
    if (chunk.includes('Preparing coupons')) bench.kill('SIGINT');
  });
  await once(bench, 'close');
  expect(errors).toContain('interrupted, everything is stopped');
  expect(bench.exitCode).toBe(1);
  expect(await processesBelow(dir)).toEqual([]);
  expect(await readdir(dir)).toEqual([]);
});

it('refuses numbers that it cannot measure with', async () => {
  const dir = await makeScratchFolder('bench');
  const bench = startBench(dir, '--requests', '7');
  const [errors] = await Promise.all([text(bench.stderr), once(bench, 'close')]);
  expect(errors).toContain("'--requests <n>' argument '7' is invalid. It must be a whole number from 1000 to 100000.");
  expect(bench.exitCode).toBe(1);
});

/** Its folders are made below `dir`, where it also works. */
function startBench(dir: string, ...args: readonly string[]) {
  return spawn(process.execPath, [packagePath('dist', 'bench', 'main.js'), ...args], {
    cwd: dir,
    env: { ...process.env, TMPDIR: dir },
    stdio: ['ignore', 'pipe', 'pipe'],
  }) satisfies ChildProcess;
}
