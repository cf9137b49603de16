// `npm run bench`: the CPU time of a claim. Reads the command line, runs the parts, prints the result; what is measured
// and how is in claims.ts and scripts.ts. Progress goes to stderr, the result to stdout.
import { availableParallelism, cpus, loadavg, release } from 'node:os';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { createProgress } from '../cli/progress.js';
import { listenForSignals } from '../cli/signals.js';
import { whole } from '../cli/whole.js';
import { EXIT } from '../cluster/exit-codes.js';
import { messageOf } from '../platform/errors.js';
import { createLog } from '../platform/log.js';
import { measureClaims } from './claims.js';
import type { BenchResult } from './report.js';
import { describe } from './report.js';
import { measureScripts } from './scripts.js';

/** Above it the ledger's window (LEDGER_WINDOW, 100,000) could end a round. */
const REQUESTS_MAX = 100_000;

interface Options {
  readonly rounds: number;
  readonly requests: number;
  readonly connections: number;
  readonly workers: number;
  readonly only?: 'claims' | 'scripts';
  readonly json?: true;
  readonly cpuProf?: string;
}

const program = new Command('npm run bench --')
  .description(
    'Measures the CPU time of a claim in every process of the service, against a Fastify route that does nothing.',
  )
  .option('--rounds <n>', 'rounds that are measured, after one that is not', whole(1, 100), 5)
  .option('--requests <n>', 'requests of one scenario in one round', whole(1_000, REQUESTS_MAX), 20_000)
  .option('--connections <n>', 'connections, each with one request at a time', whole(1, 2_000), 256)
  .option('--workers <n>', 'http workers of the service (WEB_CONCURRENCY), and of the baseline', whole(1, 64), 1)
  .addOption(new Option('--only <part>', 'measure one part').choices(['claims', 'scripts']))
  .option('--json', 'print everything that was measured as JSON')
  .option('--cpu-prof <folder>', 'V8 CPU profiles of service and baseline; they cost time, so ignore the figures')
  .addHelpText(
    'after',
    '\nStarts a service, its databases and a baseline in a scratch folder below TMPDIR, on free loopback ports, and stops' +
      '\nit all again. Takes about two minutes. docs/benchmark.md explains the figures.',
  );
program.parse();
process.exitCode = await main(program.opts<Options>());

async function main(options: Options): Promise<number> {
  const { only, json, cpuProf, ...sizes } = options;
  const signals = listenForSignals();
  const signal = signals.stop;
  const progress = createProgress();
  const startedAt = new Date();
  const [loadBefore = 0] = loadavg();
  const context = {
    ...sizes,
    signal,
    execArgv: cpuProf === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${resolve(cpuProf)}`],
    report: (step: string) => progress.step(step),
    log: createLog('bench', 'silent'),
  };
  try {
    const claims = only === 'scripts' ? undefined : await measureClaims(context);
    const scripts = only === 'claims' ? undefined : await measureScripts(context);
    progress.done();
    const [loadAfter = 0] = loadavg();
    const result: BenchResult = {
      startedAt: startedAt.toISOString(),
      durationMs: Date.now() - startedAt.getTime(),
      machine: {
        cores: availableParallelism(),
        cpu: cpus()[0]?.model.trim() ?? 'unknown',
        kernel: release(),
        node: process.versions.node,
        loadAverage: [loadBefore, loadAfter],
      },
      options: sizes,
      ...(claims !== undefined && { claims }),
      ...(scripts !== undefined && { scripts }),
    };
    process.stdout.write(`${json === true ? JSON.stringify(result, undefined, 2) : describe(result)}\n`);
    return claims?.scenarios.every((scenario) => scenario.asExpected) === false ? EXIT.failed : EXIT.ok;
  } catch (error) {
    progress.stop();
    process.stderr.write(`bench: ${signal.aborted ? 'interrupted, everything is stopped' : messageOf(error)}\n`);
    return EXIT.failed;
  } finally {
    signals.close();
  }
}
