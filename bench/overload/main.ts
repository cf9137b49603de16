// `npm run verify:overload`: reads the command line, measures (measure.ts), prints, and says by its exit code whether the service
// keeps its goodput when it is offered three times what it can do. docs/performance.md explains the figures.
import Table from 'cli-table3';
import { Command, Option } from 'commander';
import { createProgress } from '../../cli/progress.js';
import { listenForSignals } from '../../cli/signals.js';
import { whole } from '../../cli/whole.js';
import { EXIT } from '../../cluster/exit-codes.js';
import { messageOf } from '../../platform/errors.js';
import { createLog } from '../../platform/log.js';
import { spreadOf } from '../statistics.js';
import type { Limit, Measured, Round } from './measure.js';
import { LIMITS, measureOverload } from './measure.js';

/** Served when offered three times the peak, against the peak. */
const GOODPUT_MIN = 0.9;
/** Where the processor is the limit: every refusal is taken from the claims (docs/decisions/0009-shedding-refuses-a-part.md). */
const GOODPUT_PER_CPU_SECOND_MIN = 0.5;
/** The service objective for the answer to a claim. */
const REFUSED_P99_MAX_MS = 250;
/** With less the load generator was the limit, and nothing is proven. */
const OFFERED_MIN = 2.5;

interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly limit?: Limit;
}

const program = new Command('npm run verify:overload --')
  .description('Offers the whole service three times what it can do, and checks that it still serves what it can.')
  .option('--rounds <n>', 'rounds, each a peak and an offer', whole(1, 100), 3)
  .option('--seconds <n>', 'counted seconds of each half of a round', whole(2, 120), 10)
  .addOption(new Option('--limit <which>', 'what bounds the service; default: one after the other').choices(LIMITS));
program.parse();
process.exitCode = await main(program.opts<Options>());

async function main({ limit, ...sizes }: Options): Promise<number> {
  const signals = listenForSignals();
  const progress = createProgress();
  const context = {
    ...sizes,
    report: (step: string) => progress.step(step),
    log: createLog('bench', 'silent'),
    signal: signals.stop,
  };
  try {
    let ok = true;
    for (const one of limit === undefined ? LIMITS : [limit]) {
      const rounds = await measureOverload(one, context);
      const complaints = one === 'redis' ? judgeByTheClock(rounds) : judgeByTheProcessor(rounds);
      progress.done();
      process.stdout.write(`${describe(one, rounds)}\n${complaints.join('\n') || 'As it should be.'}\n`);
      ok &&= complaints.length === 0;
    }
    return ok ? EXIT.ok : EXIT.failed;
  } catch (error) {
    progress.stop();
    const message = signals.stop.aborted ? 'interrupted, everything is stopped' : messageOf(error);
    process.stderr.write(`verify:overload: ${message}\n`);
    return EXIT.failed;
  } finally {
    signals.close();
  }
}

function judgeByTheClock(rounds: readonly Round[]): string[] {
  const goodput = median(rounds, ({ peak, offered }) => offered.served.perSecond / peak.served.perSecond);
  const refusedMs = median(rounds, ({ offered }) => offered.refused.latencyMs.p99);
  const offered = median(rounds, offeredTimes);
  const complaints: string[] = [];
  if (offered < OFFERED_MIN) complaints.push(`NOT PROVEN: only ${offered.toFixed(1)} times the peak could be offered.`);
  if (goodput < GOODPUT_MIN) complaints.push(`TOO LITTLE: goodput ${goodput.toFixed(2)} of the peak.`);
  if (refusedMs > REFUSED_P99_MAX_MS) complaints.push(`TOO LATE: p99 of the refusals ${refusedMs.toFixed(0)} ms.`);
  return complaints;
}

function judgeByTheProcessor(rounds: readonly Round[]): string[] {
  const goodput = median(rounds, ({ peak, offered }) => offered.servedPerCpuSecond / peak.servedPerCpuSecond);
  if (goodput >= GOODPUT_PER_CPU_SECOND_MIN) return [];
  return [`TOO LITTLE: goodput ${goodput.toFixed(2)} of the peak for each second of processor time.`];
}

function offeredTimes({ peak, offered }: Round): number {
  return offered.sentPerSecond / peak.served.perSecond;
}

function median(rounds: readonly Round[], value: (round: Round) => number): number {
  return spreadOf(rounds.map(value)).median;
}

function describe(limit: Limit, rounds: readonly Round[]): string {
  const table = new Table({
    style: { head: [], border: [] },
    head: [`limit: ${limit}`, ...rounds.map((_, index) => `round ${index + 1}`)],
    colAligns: ['left', ...rounds.map(() => 'right' as const)],
  });
  const row = (title: string, value: (round: Round) => string): void => {
    table.push([title, ...rounds.map(value)]);
  };
  row('peak, served a second', ({ peak }) => peak.served.perSecond.toFixed(0));
  row('sent, times the peak', (round) => offeredTimes(round).toFixed(2));
  row('served a second then', ({ offered }) => offered.served.perSecond.toFixed(0));
  row('goodput against the peak', ({ peak, offered }) => (offered.served.perSecond / peak.served.perSecond).toFixed(2));
  row('… for a second of processor', ({ peak, offered }) =>
    (offered.servedPerCpuSecond / peak.servedPerCpuSecond).toFixed(2),
  );
  row('served, p50 / p99, ms', ({ offered }) => latency(offered.served));
  row('refused, p50 / p99, ms', ({ offered }) => latency(offered.refused));
  row('heard', ({ offered }) => heard(offered));
  return table.toString();
}

function latency({ latencyMs: { p50, p99 } }: Measured['served']): string {
  return `${p50.toFixed(0)} / ${p99.toFixed(0)}`;
}

function heard({ answers, unanswered }: Measured): string {
  const lines = Object.entries(answers).map(([answer, count]) => `${answer}: ${count}`);
  return [...lines, ...(unanswered > 0 ? [`no answer: ${unanswered}`] : [])].join('\n');
}
