// `npm run verify`: reads the command line, runs, tells the result. Exit code 0: every promise was kept; 1: one was broken,
// or the run could not be carried out. Progress goes to stderr, the result to stdout.
import { createWriteStream } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { createProgress } from '../cli/progress.js';
import { listenForSignals } from '../cli/signals.js';
import { whole } from '../cli/whole.js';
import { EXIT } from '../cluster/exit-codes.js';
import type { Ack } from '../coupons/definition.js';
import { ACKS } from '../coupons/definition.js';
import { messageOf } from '../platform/errors.js';
import { createLog } from '../platform/log.js';
import type { RedisMode } from './deployment.js';
import { REDIS_MODES } from './deployment.js';
import { FAULT_KINDS } from './fault-kinds.js';
import { countAnswers, describe } from './report.js';
import type { Report } from './report.js';
import type { RunResult } from './run.js';
import { run } from './run.js';
import type { FaultKind } from './schedule.js';
import { drawTimeline } from './timeline.js';

const CLIENTS_DEFAULT = 32;
const SEED_MAX = 2 ** 31 - 1;

interface Options {
  readonly minutes: number;
  readonly seed: number;
  readonly faults: readonly FaultKind[];
  readonly ack: Ack;
  readonly redis: RedisMode;
  readonly preload?: string;
  readonly clients: number;
  readonly out: string;
  readonly json?: true;
}

const program = new Command('npm run verify --')
  .description('Runs two instances of the service under load and faults, and checks that every promise was kept.')
  .option('--minutes <m>', 'how long load and faults last; start, recovery and check come on top', minutes, 1)
  .option('--seed <s>', 'decides the faults and the load (default: from the clock)', whole(0, SEED_MAX))
  .option('--faults <names>', 'which faults, separated by commas; all, or none', faultKinds, FAULT_KINDS)
  .addOption(new Option('--ack <level>', 'acknowledgement level of the coupons').choices(ACKS).default('fsync'))
  .addOption(
    new Option('--redis <mode>', 'what Redis keeps of its writes when it is killed')
      .choices(REDIS_MODES)
      .default('always'),
  )
  .option(
    '--preload <module>',
    'every process of the service loads it first, to plant a bug that the run must find',
    absolute,
  )
  .option('--clients <n>', 'clients, each with one request at a time', whole(1, 256), CLIENTS_DEFAULT)
  .option(
    '--out <folder>',
    'where the picture goes, and history and logs when a promise was broken',
    '.stampede/verify',
  )
  .option('--json', 'print the result as JSON')
  .addHelpText(
    'after',
    `\nFaults:\n${FAULT_KINDS.map(({ name, meaning }) => `  ${name.padEnd(20)} ${meaning}`).join('\n')}`,
  );
program.configureHelp({ styleOptionDescription: (text) => text.replace(/ \(default: \[.*\]\)$/s, ' (default: all)') });
program.parse();
if (program.opts<Options>().ack === 'fsync' && program.opts<Options>().redis !== 'always') {
  program.error('error: level fsync needs --redis always');
}
const given = program.opts<Omit<Options, 'seed'> & { seed?: number }>();
process.exitCode = await main({ ...given, seed: given.seed ?? Date.now() % SEED_MAX });

async function main(options: Options): Promise<number> {
  const signals = listenForSignals();
  const progress = createProgress();
  const dir = await mkdtemp(join(tmpdir(), 'stampede-verify-'));
  try {
    progress.step(`Seed ${options.seed}`);
    const result = await run({
      ...options,
      durationMs: options.minutes * 60_000,
      dir,
      report: (step) => progress.step(step),
      log: createLog('verify', 'silent'),
      signal: signals.stop,
    });
    const report = await tell(options, result, dir);
    progress.done();
    process.stdout.write(`${options.json === true ? JSON.stringify(report, undefined, 2) : describe(report)}\n`);
    return result.verdict.ok ? EXIT.ok : EXIT.failed;
  } catch (error) {
    progress.stop();
    const aborted = signals.stop.aborted;
    process.stderr.write(`verify: ${aborted ? 'interrupted, everything is stopped' : messageOf(error)}\n`);
    if (!aborted) await keepLogs(dir, resolve(options.out, `seed-${options.seed}`));
    return EXIT.failed;
  } finally {
    await rm(dir, { recursive: true, force: true });
    signals.close();
  }
}

/** Writes the picture, and whatever helps to find out why when a promise was broken. */
async function tell(options: Options, result: RunResult, dir: string): Promise<Report> {
  const { seed, minutes: length, ack, redis, out } = options;
  const folder = resolve(out, `seed-${seed}`);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const picture = join(folder, 'timeline.svg');
  await writeFile(picture, drawTimeline(result, `seed ${seed}, ${length} minutes, level ${ack}, Redis ${redis}`));
  const files = [`Timeline: ${picture}`];
  if (!result.verdict.ok) {
    const history = join(folder, 'history.jsonl');
    const lines = Readable.from([...result.history, ...result.faults].map((entry) => `${JSON.stringify(entry)}\n`));
    await pipeline(lines, createWriteStream(history));
    await writeFile(join(folder, 'final.json'), JSON.stringify(result.final));
    await keepLogs(dir, folder);
    files.push(`History: ${history}`, `Final state and logs: ${folder}`);
  }
  const rows = result.final.coupons.flatMap((coupon) => coupon.rows);
  return {
    ...{ seed, minutes: length, ack, redis, files },
    verdict: result.verdict,
    answers: countAnswers(result.history),
    planned: result.planned,
    faults: result.faults,
    recovery: result.final.recovery,
    claims: rows.length,
    returned: rows.filter((row) => row.returnedAt !== null).length,
    withheldUnits: result.final.withheldUnits,
  };
}

async function keepLogs(dir: string, folder: string): Promise<void> {
  for (const log of ['instance-1/service.log', 'instance-2/service.log', 'logs']) {
    // A run that fails early may not have all of them.
    await cp(join(dir, log), join(folder, log), { recursive: true }).catch(() => undefined);
  }
}

function absolute(path: string): string {
  return resolve(path);
}

function minutes(text: string): number {
  const number = Number(text);
  if (!(number >= 0.1 && number <= 1_440)) throw new InvalidArgumentError('It must be a number from 0.1 to 1440.');
  return number;
}

function faultKinds(text: string): readonly FaultKind[] {
  if (text === 'none') return [];
  if (text === 'all') return FAULT_KINDS;
  return text.split(',').map((name) => {
    const kind = FAULT_KINDS.find((known) => known.name === name);
    if (kind === undefined) {
      throw new InvalidArgumentError(`Known faults: ${FAULT_KINDS.map((known) => known.name).join(', ')}.`);
    }
    return kind;
  });
}
