// `npm run clean-run`: watches a healthy service for false alarms. The real service runs for minutes under load that varies
// (users.ts), with the detector as it is in production, and nothing in it leaks: whoever is called anything but clean is
// accused wrongly. Exit code 0: nobody was. Progress goes to stderr, the result to stdout.
import Table from 'cli-table3';
import { Command, InvalidArgumentError } from 'commander';
import { listenForSignals } from '../../cli/signals.js';
import { createLog } from '../../platform/log.js';
import { startService } from '../service.js';
import type { Alarm } from './alarms.js';
import { Alarms, lineOf } from './alarms.js';
import { PHASES, PLENTY, PLENTY_UNITS, Users } from './users.js';

const MINUTES_DEFAULT = 20;
const MINUTES_MAX = 1_440;
const MS_PER_MINUTE = 60_000;

const program = new Command('npm run clean-run --')
  .description('Watches a healthy service under varying load; fails when its detector accuses any line.')
  .option('--minutes <m>', 'how long', toMinutes, MINUTES_DEFAULT)
  .addHelpText('after', `\nOne after the other:\n${PHASES.map(({ name }) => `  ${name}`).join('\n')}`)
  .parse();
const { minutes } = program.opts<{ minutes: number }>();

const signals = listenForSignals();
const service = await startService({
  workers: 2,
  execArgv: [],
  log: createLog('clean-run', 'silent'),
  signal: signals.stop,
});
const alarms = new Alarms();
// A timer of our own: on Node 20 a signal of AbortSignal.timeout that only AbortSignal.any holds may never fire.
const over = new AbortController();
signals.stop.addEventListener('abort', () => over.abort());
const limit = setTimeout(() => over.abort(), minutes * MS_PER_MINUTE);
const users = new Users(service, over.signal);
const startedAt = performance.now();
let lastedMinutes: number;
try {
  await service.admin('POST', '/v1/coupons', { couponId: PLENTY, total: PLENTY_UNITS, returnable: true });
  let phase = '';
  const begin = (next: string): void => {
    phase = next;
    console.error(`${new Date().toISOString()} ${next}`);
  };
  const now = (): string => phase;
  await Promise.all([users.live(begin), alarms.watch(service.socketFolder, over.signal, now, tell)]);
} finally {
  clearTimeout(limit);
  lastedMinutes = (performance.now() - startedAt) / MS_PER_MINUTE;
  await users.close();
  await service.stop();
  signals.close();
}
const answers = [...users.answers].map(([answer, count]) => `${answer}: ${count}`).join(', ');
if (alarms.all.length > 0) console.log(tableOf(alarms.all));
console.log(
  `${lastedMinutes.toFixed(1)} minutes${signals.stop.aborted ? ' and then stopped' : ''}, answers ${answers}; ${alarms.looks} times a process was asked: ` +
    (alarms.all.length === 0 ? 'no false alarm.' : `${alarms.all.length} FALSE ALARMS.`),
);
process.exitCode = alarms.all.length === 0 && alarms.looks > 0 && !signals.stop.aborted ? 0 : 1;

function tell({ process: name, verdict, site, during }: Alarm): void {
  console.error(`  ${verdict} in ${name} during ${during}: ${site.kind} ${site.type} at ${lineOf(site)}`);
  for (const { functionName, file, line } of site.stack) console.error(`    at ${functionName} (${file}:${line})`);
}

function tableOf(all: readonly Alarm[]): string {
  const head = ['process', 'said', 'first at', 'times', 'kind', 'line', 'live', 'a minute', 'first during'];
  const table = new Table({ head, style: { head: [], border: [] } });
  for (const { process: name, verdict, site, during, firstMs, times } of all) {
    const first = `${Math.round(firstMs / 1_000)} s`;
    const kind = `${site.kind} ${site.type}`;
    const numbers = [Math.round(site.live), `+${site.growthPerMinute}`];
    table.push([name, verdict, first, times, kind, lineOf(site), ...numbers, during]);
  }
  return table.toString();
}

function toMinutes(text: string): number {
  const number = Number(text);
  if (!(number > 0 && number <= MINUTES_MAX)) {
    throw new InvalidArgumentError(`It must be a number above 0, at most ${MINUTES_MAX}.`);
  }
  return number;
}
