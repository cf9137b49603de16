// The benchmark as a program, as small as it gets. What is tested is that it measures what it says and leaves nothing
// behind; no figure is, because none is the same on another machine.
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, expect, it, vi } from 'vitest';
import type { PeerRounds } from '../../bench/peers/peers.js';
import type { BenchRun } from '../../bench/run.js';
import type { ScriptResult } from '../../bench/scripts.js';
import { startService } from '../../bench/service.js';
import { createLog } from '../../platform/log.js';
import { packagePath } from '../../platform/package-root.js';
import { processesBelow } from '../harness/left-behind.js';
import { makeScratchFolder } from '../harness/scratch.js';

/** Of one load at the short scale. */
const REQUESTS = 2_000;
/** It takes about 25 s; a busy machine is no failure. */
const BENCH_TIMEOUT_MS = 180_000;

afterEach(() => {
  vi.unstubAllEnvs();
});

it(
  'tells the CPU time of every process and design, and of the script alone, as JSON',
  { timeout: BENCH_TIMEOUT_MS },
  async () => {
    const dir = await makeScratchFolder('bench');
    const bench = startBench(dir, '--json', '--short', '--only', 'peers', 'scripts');
    const [output, errors] = await Promise.all([text(bench.stdout), text(bench.stderr), once(bench, 'close')]);
    expect(bench.exitCode, errors).toBe(0);
    const { machine, parts, scale, rounds: roundsOfRun } = JSON.parse(output) as BenchRun;
    const [peers, scripts] = parts.map(({ result }) => result?.raw) as [
      { readonly contestants: readonly Pick<PeerRounds, 'name' | 'path' | 'rounds'>[] },
      readonly ScriptResult[],
    ];

    expect([scale, roundsOfRun]).toEqual(['short', 1]);
    expect(machine.node).toBe(process.versions.node);
    expect(machine.redis).toMatch(/^\d+\.\d+/);
    expect(machine.mariadb).toMatch(/^\d+\.\d+/);
    expect(machine.commit).toMatch(/^([0-9a-f]{12}\+?|unknown)$/);

    expect(peers.contestants.map(({ name, path }) => `${name}, ${path}`)).toEqual([
      'empty Fastify route, granted',
      'bare node:http, granted',
      'usual design, granted',
      'usual, auto-pipelining, granted',
      'one script per claim, granted',
      'Stampede, granted',
      'usual design, sold out',
      'one script per claim, sold out',
      'Stampede, sold out',
      'usual design, asked again',
      'one script per claim, asked again',
      'Stampede, asked again',
    ]);
    for (const { name, rounds } of peers.contestants) {
      const withDatabases = name !== 'empty Fastify route' && name !== 'bare node:http';
      expect(rounds).toHaveLength(1);
      for (const { cpuMicrosPerClaim, claimsPerSecond, writtenPerSecond, load } of rounds) {
        expect(cpuMicrosPerClaim.http).toBeGreaterThan(0);
        expect(cpuMicrosPerClaim.redis === undefined).toBe(!withDatabases);
        if (withDatabases) expect(cpuMicrosPerClaim.redis).toBeGreaterThan(0);
        // A row is not in MySQL before its claim is answered.
        expect(writtenPerSecond).toBeLessThanOrEqual(claimsPerSecond * 1.01);
        expect(load.unanswered).toBe(0);
        expect(Object.values(load.answers)).toEqual([REQUESTS]);
      }
    }
    const ours = peers.contestants.filter(({ name }) => name === 'Stampede').flatMap(({ rounds }) => rounds);
    // A batch holds at least the one claim it is sent for, and at most one of each connection.
    for (const { counted } of ours) expect(counted?.scriptCalls).toBeGreaterThanOrEqual(REQUESTS / 256);
    const found = parts.flatMap(({ result }) => result?.findings ?? []).map(({ target }) => target);
    expect(found).toEqual(['redisCpuAgainstUsual', 'throughputAgainstUsual', 'soldOutRedisCpu']);

    const cells = scripts.map(({ persistence, outcome, batchSize }) => `${persistence} ${outcome} ${batchSize}`);
    expect(new Set(cells).size).toBe(2 * 3 * 4);
    for (const { claims: measured, redisCpuMicrosPerClaim } of scripts) {
      expect(measured).toBe(REQUESTS);
      expect(redisCpuMicrosPerClaim.median).toBeGreaterThan(0);
    }
    expect(await processesBelow(dir)).toEqual([]);
    expect(await readdir(dir)).toEqual([]);
  },
);

it('stops everything it started on Ctrl-C', { timeout: BENCH_TIMEOUT_MS }, async () => {
  const dir = await makeScratchFolder('bench');
  const bench = startBench(dir, '--only', 'batch', '--rounds', '50', '--requests', '2000');
  let errors = '';
  bench.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    errors += chunk;
    // Everything runs by now, under load.
    if (chunk.includes('warming up')) bench.kill('SIGINT');
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

it('puts nothing into the README but a whole run', async () => {
  const dir = await makeScratchFolder('bench');
  const others = [['--short'], ['--cpu-prof', 'here'], ['--rounds', '4'], ['--workers', '2']];
  const refused = others.map(async (other) => {
    const bench = startBench(dir, ...other, '--save');
    const [errors] = await Promise.all([text(bench.stderr), once(bench, 'close')]);
    expect(errors).toContain('what the README shows is a whole run');
    expect(bench.exitCode).toBe(64);
  });
  await Promise.all(refused);
});

it('compares a saved run with the one in bench/results/, and measures nothing', async () => {
  const dir = await makeScratchFolder('bench');
  const same = startBench(dir, '--compare', packagePath('bench', 'results'));
  const [output] = await Promise.all([text(same.stdout), once(same, 'close')]);
  expect([output, same.exitCode]).toEqual(['Both runs give the same verdict on every target.\n', 0]);
  const none = startBench(dir, '--compare', dir);
  const [errors] = await Promise.all([text(none.stderr), once(none, 'close')]);
  expect(errors).toContain('ENOENT');
  expect(none.exitCode).toBe(1);
});

it('leaves nothing behind of a service that cannot be started', async () => {
  const dir = await makeScratchFolder('bench');
  vi.stubEnv('TMPDIR', dir);
  const { signal } = new AbortController();
  const options = { workers: 1, execArgv: [], log: createLog('bench', 'silent'), signal };
  await expect(startService({ ...options, node: join(dir, 'none') })).rejects.toThrow('ENOENT');
  expect(await readdir(dir)).toEqual([]);
});

/** Its folders are made below `dir`, where it also works. */
function startBench(dir: string, ...args: readonly string[]) {
  return spawn(process.execPath, [packagePath('dist', 'bench', 'main.js'), ...args], {
    cwd: dir,
    env: { ...process.env, TMPDIR: dir },
    stdio: ['ignore', 'pipe', 'pipe'],
  }) satisfies ChildProcess;
}
