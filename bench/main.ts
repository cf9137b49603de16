// `npm run bench`: reads the command line, runs parts, prints what came out and saves it where that is wanted. What is
// measured is in the parts (parts.ts). Progress goes to stderr, the result to stdout.
import { mkdtemp } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { createProgress } from '../cli/progress.js';
import { listenForSignals } from '../cli/signals.js';
import { whole } from '../cli/whole.js';
import { EXIT } from '../cluster/exit-codes.js';
import { messageOf } from '../platform/errors.js';
import { createLog } from '../platform/log.js';
import { describeMachine } from './machine.js';
import type { PartContext } from './part.js';
import { PARTS } from './parts.js';
import { differencesOf, summaryOf } from './report/repeat.js';
import { besideBefore, loadRun, PUBLISHED, publishRun, saveRun, whyNotPublish } from './report/save.js';
import { describeRun } from './report/terminal.js';
import { verdictsOf } from './report/verdicts.js';
import type { BenchRun } from './run.js';
import { runParts } from './run.js';

/** Above it the ledger's window (LEDGER_WINDOW, 100,000) could end a round. */
const REQUESTS_MAX = 100_000;
/** With both at their most a coupon has to have stock for five million claims, and ten is what one may have. */
const ROUNDS_MAX = 50;
const DEFAULTS = { full: { rounds: 5, requests: 20_000 }, short: { rounds: 1, requests: 2_000 } } as const;
const CONNECTIONS = 256;
const WORKERS = 1;

interface Options {
  readonly only?: readonly string[];
  readonly short?: true;
  readonly rounds?: number;
  readonly requests?: number;
  readonly connections: number;
  readonly workers: number;
  readonly save?: string | true;
  readonly render?: true;
  readonly compare?: string;
  readonly json?: true;
  readonly cpuProf?: string;
}

const minutes = PARTS.reduce((sum, part) => sum + part.minutes, 0);
const program = new Command('npm run bench --')
  .description('Measures what a claim costs, side by side with other designs, and how every target stands.')
  .addOption(new Option('--only <part...>', 'run only these parts').choices(PARTS.map(({ name }) => name)))
  .option('--short', 'everything as small as it gets: shows that it runs, its figures mean nothing')
  .option('--rounds <n>', 'rounds that are measured, after one that is not (default: 5)', whole(1, ROUNDS_MAX))
  .option('--requests <n>', 'requests of one load in one round (default: 20000)', whole(1_000, REQUESTS_MAX))
  .option('--connections <n>', 'connections, each with one request at a time', whole(1, 2_000), CONNECTIONS)
  .option('--workers <n>', 'http workers of the service (WEB_CONCURRENCY), and of the baseline', whole(1, 64), WORKERS)
  .option('--save [folder]', 'write page, pictures and raw data; without a folder to bench/results/ and the README')
  .option('--render', 'write page, pictures and README again from the raw data in bench/results/, and measure nothing')
  .option(
    '--compare <folder>',
    'where the run in bench/results/ and the one saved there give other verdicts; measures nothing',
  )
  .option('--json', 'print everything that was measured as JSON')
  .option('--cpu-prof <folder>', 'V8 CPU profiles of what is measured; they cost time, so ignore the figures')
  .addHelpText(
    'after',
    [
      '',
      'Parts:',
      ...PARTS.map(({ name, description, minutes: own }) => `  ${name.padEnd(13)} ${description} (${own} min)`),
      '',
      `Everything takes about ${minutes} minutes. It starts services, databases and servers to compare with in scratch`,
      'folders below TMPDIR, on free loopback ports, and stops all of it again. bench/README.md explains the figures.',
    ].join('\n'),
  );
program.parse();
process.exitCode = await main(program.opts<Options>());

async function main(options: Options): Promise<number> {
  if (options.render === true) return await renderAgain();
  if (options.compare !== undefined) return await compareWith(options.compare);
  if (options.save === true && !isWhole(options)) {
    process.stderr.write(
      'bench: what the README shows is a whole run with no --short, --only or --cpu-prof, no fewer rounds or requests ' +
        'and no other connections or workers than by default; name a folder to save another one\n',
    );
    return EXIT.usage;
  }
  const signals = listenForSignals();
  const progress = createProgress();
  try {
    const run = await measure(options, signals.stop, (step) => progress.step(step));
    progress.done();
    const result =
      options.json === true ? JSON.stringify({ ...run, targets: verdictsOf(run) }, undefined, 2) : describeRun(run);
    process.stdout.write(`${result}\n`);
    await save(run, options.save);
    return run.parts.every(({ problems }) => problems.length === 0) ? EXIT.ok : EXIT.failed;
  } catch (error) {
    progress.stop();
    const { aborted } = signals.stop;
    process.stderr.write(`bench: ${aborted ? 'interrupted, everything is stopped' : messageOf(error)}\n`);
    return EXIT.failed;
  } finally {
    signals.close();
  }
}

/** As `npm run bench` measures by itself, or more rounds and requests of it. */
function isWhole({ short, only, cpuProf, rounds, requests, connections, workers }: Options): boolean {
  const { full } = DEFAULTS;
  const asAlways = short === undefined && only === undefined && cpuProf === undefined;
  const enough = (rounds ?? full.rounds) >= full.rounds && (requests ?? full.requests) >= full.requests;
  return asAlways && enough && connections === CONNECTIONS && workers === WORKERS;
}

async function save(run: BenchRun, to: Options['save']): Promise<void> {
  if (to === undefined) return;
  const refusal = to === true ? whyNotPublish(run) : undefined;
  if (to === true && refusal === undefined) {
    await publishRun(await besideBefore(run, PUBLISHED.folder));
    return;
  }
  const folder = to === true ? await mkdtemp(join(tmpdir(), 'stampede-bench-run-')) : resolve(to);
  await saveRun(await besideBefore(run, folder), folder);
  if (refusal !== undefined) process.stderr.write(`bench: ${refusal}; this run is saved in ${folder}\n`);
}

async function renderAgain(): Promise<number> {
  return await tellingWhy(async () => {
    await publishRun(await loadRun(PUBLISHED.folder));
    return EXIT.ok;
  });
}

/** Fails where they differ. */
async function compareWith(folder: string): Promise<number> {
  return await tellingWhy(async () => {
    const other = summaryOf(await loadRun(resolve(folder)));
    const differences = differencesOf(await loadRun(PUBLISHED.folder), other);
    process.stdout.write(`${differences.join('\n') || 'Both runs give the same verdict on every target.'}\n`);
    return differences.length === 0 ? EXIT.ok : EXIT.failed;
  });
}

async function tellingWhy(work: () => Promise<number>): Promise<number> {
  try {
    return await work();
  } catch (error) {
    process.stderr.write(`bench: ${messageOf(error)}\n`);
    return EXIT.failed;
  }
}

async function measure(options: Options, signal: AbortSignal, report: (step: string) => void): Promise<BenchRun> {
  const scale = options.short === true ? 'short' : 'full';
  const {
    only,
    connections,
    workers,
    cpuProf,
    rounds = DEFAULTS[scale].rounds,
    requests = DEFAULTS[scale].requests,
  } = options;
  const parts = PARTS.filter(({ name }) => only?.includes(name) ?? true);
  const context: PartContext = {
    scale,
    rounds,
    requests,
    connections,
    workers,
    execArgv: cpuProf === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${resolve(cpuProf)}`],
    report,
    log: createLog('bench', 'silent'),
    signal,
  };
  const startedAt = new Date();
  const [loadBefore = 0] = loadavg();
  const runs = await runParts(parts, context);
  const [loadAfter = 0] = loadavg();
  return {
    startedAt: startedAt.toISOString(),
    durationMs: Date.now() - startedAt.getTime(),
    scale,
    rounds,
    machine: await describeMachine(),
    loadAverage: [loadBefore, loadAfter],
    parts: runs,
  };
}
