// The part `burst`: everybody comes at the same moment. Connections are opened all at once, each with one claim, for half as
// many units; who wins, who hears what, and when the rows are in MySQL.
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { auditProblems } from '../audit.js';
import { Child } from '../child.js';
import { cpuMicrosOf } from '../cpu.js';
import type { Part, PartResult } from '../part.js';
import type { Service } from '../service.js';
import { startService } from '../service.js';
import { cpuMicrosByKind, microsOf } from '../service-cpu.js';
import { stoppingAll } from '../started.js';
import type { Spread } from '../statistics.js';
import { percentileOf, spreadOf } from '../statistics.js';
import type { CrowdJob, FromCrowd, Heard, ToCrowd } from './crowd-job.js';

const SCALES = {
  full: { connections: 20_000, stock: 10_000, crowds: 4 },
  short: { connections: 600, stock: 300, crowds: 2 },
} as const;
type Scale = (typeof SCALES)[keyof typeof SCALES];

/** The service's own default, where the other parts are more patient. */
const CLAIM_TIMEOUT_MS = 2_000;
const READY_TIMEOUT_MS = 30_000;
/** Longer than a crowd waits. */
const HEARD_TIMEOUT_MS = 120_000;

/** Files that a process has open beside its connections, with room to spare. */
const OTHER_FILES = 500;
/** The kernel gives connections to whichever worker is free: one may get this many times its share. */
const UNEVEN = 1.5;

interface Burst {
  readonly winners: number;
  readonly soldOut: number;
  /** Connections that heard anything else, or nothing. */
  readonly errors: number;
  /** Of the answers, since all came: waiting for the connection included. */
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly last: number };
  /** From the last answer until no claim is missing in MySQL. */
  readonly writtenMs: number;
  /** µs of CPU for each connection. */
  readonly httpMicros: number;
  readonly crowdMicros: number;
  readonly answers: Readonly<Record<string, number>>;
}

export const BURST: Part = {
  name: 'burst',
  description: '20,000 connections opened at once, one claim each, for 10,000 units',
  minutes: 1,
  measure: async (context) =>
    await stoppingAll(async (keep) => {
      const { rounds, signal, report } = context;
      const scale = SCALES[context.scale];
      const workers = availableParallelism();
      checkOpenFiles(scale, workers);
      report('starting a service');
      const environment = { CLAIM_TIMEOUT_MS: String(CLAIM_TIMEOUT_MS) };
      const service = keep(await startService({ ...context, workers, environment }));
      const crowds = Array.from({ length: scale.crowds }, () => keep(new Child({ script: 'burst/crowd', signal })));
      const bursts: Burst[] = [];
      for (let round = 0; round <= rounds; round++) {
        report(`burst ${round + 1} of ${rounds + 1}`);
        bursts.push(await measureBurst(service, crowds, scale, `burst-${round}`));
      }
      const told = bursts.reduce((sum, { winners }) => sum + winners, 0);
      return resultOf(scale, workers, bursts, await auditProblems(service, told));
    }),
};

async function measureBurst(
  service: Service,
  crowds: readonly Child[],
  { connections, stock }: Scale,
  couponId: string,
): Promise<Burst> {
  const { url, pids, databases } = service;
  await service.createCoupon(couponId, stock);
  const users = connections / crowds.length;
  const shared = { port: Number(new URL(url).port), couponId, userPrefix: `${couponId}-`, users };
  const each = async <T>(what: (crowd: Child, index: number) => Promise<T>): Promise<T[]> =>
    await Promise.all(crowds.map(what));
  // From an address each, so that the ports of one are enough, whatever else uses them.
  await each(async (crowd, i) => ready(crowd, { ...shared, firstUser: i * users, from: `127.0.0.${i + 2}` }));
  const used = () => ({
    http: microsOf(cpuMicrosByKind(pids), 'http'),
    crowd: crowds.reduce((sum, { pid }) => sum + cpuMicrosOf(pid), 0),
  });
  const before = used();
  const heard = await each(go);
  const after = used();
  const lastAnswerAt = Math.max(...heard.map(({ endedAt }) => endedAt));
  await databases.whenWritten();
  const writtenMs = Math.max(0, Date.now() - lastAnswerAt);

  const answers: Record<string, number> = {};
  for (const [answer, times] of heard.flatMap((one) => Object.entries(one.answers))) {
    answers[answer] = (answers[answer] ?? 0) + times;
  }
  const latencies = heard.flatMap(({ latenciesMs }) => latenciesMs).sort((a, b) => a - b);
  const at = (share: number): number => percentileOf(latencies, share);
  const { '201 claimed': winners = 0, '409 sold_out': soldOut = 0 } = answers;
  return {
    winners,
    soldOut,
    errors: connections - winners - soldOut,
    latencyMs: { p50: at(0.5), p99: at(0.99), last: at(1) },
    writtenMs,
    httpMicros: (after.http - before.http) / connections,
    crowdMicros: (after.crowd - before.crowd) / connections,
    answers,
  };
}

async function ready(crowd: Child, job: CrowdJob): Promise<void> {
  await crowd.answer(READY_TIMEOUT_MS, { kind: 'job', ...job } satisfies ToCrowd);
}

async function go(crowd: Child): Promise<Heard> {
  const answer = (await crowd.answer(HEARD_TIMEOUT_MS, { kind: 'go' } satisfies ToCrowd)) as FromCrowd;
  if (answer.kind !== 'heard') throw new Error(`expected what a crowd has heard, got ${answer.kind}`);
  return answer;
}

function resultOf(
  { connections, stock, crowds }: Scale,
  workers: number,
  bursts: readonly Burst[],
  problems: readonly string[],
): PartResult {
  const over = (value: (burst: Burst) => number): Spread => spreadOf(bursts.map(value));
  const row = (title: string, digits: number, value: (burst: Burst) => number) => ({
    ...{ title, digits },
    cells: [over(value)],
  });
  // In the first one everything is compiled: how fast is told without it, who won and who failed is not.
  const warmRow = (title: string, digits: number, value: (burst: Burst) => number) => ({
    ...{ title, digits },
    cells: [spreadOf(bursts.slice(1).map(value))],
  });
  // None of them may fail: the worst is what counts.
  const worst = (value: (burst: Burst) => number): Spread => spreadOf([over(value).max]);
  const failed = bursts.filter(({ errors }) => errors > 0);
  const table = {
    title: `${connections} connections at once, ${stock} units`,
    columns: ['of a burst'],
    rows: [
      row('winners', 0, ({ winners }) => winners),
      row('sold out', 0, ({ soldOut }) => soldOut),
      row('anything else, or no answer', 0, ({ errors }) => errors),
      warmRow('answered p50, s', 2, ({ latencyMs }) => latencyMs.p50 / 1_000),
      warmRow('answered p99, s', 2, ({ latencyMs }) => latencyMs.p99 / 1_000),
      warmRow('last answer, s', 2, ({ latencyMs }) => latencyMs.last / 1_000),
      row('all rows in MySQL after that, s', 2, ({ writtenMs }) => writtenMs / 1_000),
      warmRow('http workers, µs of CPU per connection', 0, ({ httpMicros }) => httpMicros),
      warmRow('the crowd itself, µs of CPU per connection', 0, ({ crowdMicros }) => crowdMicros),
    ],
    notes: [
      `${bursts.length} bursts of ${crowds} processes, ${workers} http workers, every setting at its default. Times are from the moment at which all come; those of answers, and CPU, without the first burst.`,
      'Connections beyond the backlog (4,096, net.core.somaxconn) are tried again by the kernel of the client after a second.',
      ...failed.map(({ answers }) => `A burst heard ${JSON.stringify(answers)}.`),
    ],
  };
  return {
    tables: [table],
    pictures: [],
    findings: [
      { target: 'burstErrors', value: worst(({ errors }) => errors) },
      { target: 'burstWinnersOff', value: worst(({ winners }) => Math.abs(winners - stock)) },
      { target: 'burstRows', value: worst(({ writtenMs }) => writtenMs / 1_000) },
    ],
    problems,
    raw: bursts,
  };
}

/** Throws a sentence that says what to do. Node raises the soft limit to the hard one by itself. */
function checkOpenFiles({ connections, crowds }: Scale, workers: number): void {
  const hard = Number(
    /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? Infinity,
  );
  const ofOne = Math.max(connections / crowds, Math.min(connections, (connections / workers) * UNEVEN));
  const needed = Math.ceil(ofOne) + OTHER_FILES;
  if (hard >= needed) return;
  throw new Error(`a process may open ${hard} files, and this part needs ${needed}: raise it (ulimit -Hn ${needed})`);
}
