// The leak lab: runs every classic leak and its mended twin under load, and prints what the detector said of each.
// `npm run lab -- --help`. Exits 1 when a leak was missed or a twin accused.
import { basename } from 'node:path';
import Table from 'cli-table3';
import { Command, InvalidArgumentError } from 'commander';
import type { CaseName } from './cases.js';
import { CASE_NAMES, isCaseName, loadCase } from './cases.js';
import type { RunResult } from './run-case.js';
import { runCase } from './run-case.js';

const DEFAULT_SECONDS = 20;
const DEFAULT_WINDOW_SECONDS = 4;

interface Row {
  readonly name: CaseName;
  readonly title: string;
  readonly leaking: RunResult | undefined;
  readonly fixed: RunResult;
}

interface LabOptions {
  readonly only?: CaseName[];
  readonly seconds: number;
  readonly window: number;
}

const command = new Command('lab')
  .description('Runs classic leaks and their mended twins under load, and prints what the detector says of each.')
  .option('--only <names>', `some of: ${CASE_NAMES.join(', ')} (comma-separated)`, toNames)
  .option('--seconds <n>', 'load on each server, at most', toSeconds, DEFAULT_SECONDS)
  .option('--window <n>', "the detector's window in seconds; in production 40", toSeconds, DEFAULT_WINDOW_SECONDS)
  .parse();

const { only, seconds, window } = command.opts<LabOptions>();
const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort());

const rows: Row[] = [];
try {
  for (const name of only ?? CASE_NAMES) {
    console.error(`${name} …`);
    rows.push(await runBoth(name));
  }
} catch (error) {
  if (!interrupted.signal.aborted) throw error;
}
console.log(tableOf(rows));
const wrong = rows.filter((row) => !isRight(row));
console.log(wrong.length === 0 ? 'No miss, no false alarm.' : `Wrong: ${wrong.map(({ name }) => name).join(', ')}`);
process.exit(wrong.length === 0 && !interrupted.signal.aborted ? 0 : 1);

async function runBoth(name: CaseName): Promise<Row> {
  const { title, leaking } = await loadCase(name);
  const options = { name, seconds, windowMs: window * 1_000, signal: interrupted.signal };
  const [leak, twin] = await Promise.all([
    leaking === undefined ? undefined : runCase({ ...options, variant: 'leaking' }),
    runCase({ ...options, variant: 'fixed' }),
  ]);
  const row = { name, title, leaking: leak, fixed: twin };
  console.error(`  ${isRight(row) ? 'right' : 'WRONG'}: ${title}`);
  return row;
}

function isRight({ leaking, fixed }: Row): boolean {
  return fixed.verdict === 'clean' && (leaking === undefined || (leaking.verdict === 'leaking' && leaking.isMarked));
}

function tableOf(all: readonly Row[]): string {
  const table = new Table({ head: ['case', 'leak', 'line', 'after', 'kind', 'twin'], style: { head: [], border: [] } });
  for (const { name, leaking, fixed } of all) {
    table.push([
      name,
      leaking?.verdict ?? '–',
      leaking === undefined ? '–' : `${leaking.isMarked ? 'right' : 'WRONG'} ${lineOf(leaking)}`,
      leaking === undefined ? '–' : `${leaking.afterSeconds.toFixed(1)} s`,
      leaking?.worst === undefined ? '–' : `${leaking.worst.kind} ${leaking.worst.type}`,
      fixed.verdict === 'clean' ? 'clean' : `${fixed.verdict} ${lineOf(fixed)}`,
    ]);
  }
  return table.toString();
}

function lineOf({ worst }: RunResult): string {
  const frame = worst?.stack[0];
  return frame === undefined ? '' : `${basename(frame.file)}:${frame.line}`;
}

function toNames(value: string): CaseName[] {
  return value.split(',').map((name) => {
    if (!isCaseName(name)) throw new InvalidArgumentError(`It is none of ${CASE_NAMES.join(', ')}.`);
    return name;
  });
}

function toSeconds(value: string): number {
  const number = Number(value);
  if (!(number > 0)) throw new InvalidArgumentError('It must be a number above 0.');
  return number;
}
