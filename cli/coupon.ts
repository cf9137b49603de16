// `stampede coupon …`: what operators do with coupons, for people and, with --json, for scripts.
import { randomUUID } from 'node:crypto';
import Table from 'cli-table3';
import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import type { CouponBody } from '../cluster/admin/schemas.js';
import { ACKS } from '../coupons/definition.js';
import { connectAdmin, processIo } from './admin-client.js';
import type { CommandIo } from './admin-client.js';

const LIST_PAGE = 200;

interface Output {
  readonly json?: true;
}

interface CreateOptions extends Output {
  readonly total: number;
  readonly opensAt?: string;
  readonly closesAt?: string;
  readonly ack?: string;
  readonly returnable?: true;
}

interface AdjustOptions extends Output {
  readonly delta: number;
  readonly reason: string;
  readonly idempotencyKey?: string;
}

interface Adjustment {
  readonly delta: number;
  readonly idempotencyKey: string;
  readonly coupon: CouponBody;
}

/** Adds the command to the program. Actions reject with one line for people; the program prints it and sets the exit code. */
export function registerCouponCommands(program: Command, io: CommandIo = processIo()): void {
  const coupon = program.command('coupon').description('create, show and change coupons of the running service');
  const json = (): Option => new Option('--json', 'print the answer of the admin API');

  coupon
    .command('create <id>')
    .description('create a coupon; the same again is harmless')
    .requiredOption('--total <n>', 'units', wholeNumber)
    .option('--opens-at <time>', 'first moment of claims, e.g. 2026-11-27T09:00:00+01:00')
    .option('--closes-at <time>', 'moment after the last claim')
    .addOption(new Option('--ack <level>', 'acknowledgement level').choices(ACKS))
    .option('--returnable', 'claims may be given back')
    .addOption(json())
    .action(async (couponId: string, options: CreateOptions) => {
      const { json: asJson, ...definition } = options;
      const ask = await connectAdmin(io.environment);
      const body = { couponId, ...definition };
      print(io, asJson, await ask({ method: 'POST', path: '/v1/coupons', body }));
    });

  coupon
    .command('show <id>')
    .description('show a coupon with its counts')
    .addOption(json())
    .action(async (couponId: string, options: Output) => {
      const ask = await connectAdmin(io.environment);
      print(io, options.json, await ask({ path: pathOf(couponId) }));
    });

  coupon
    .command('list')
    .description('list all coupons by id')
    .addOption(json())
    .action(async (options: Output) => {
      const coupons = await listAll(io);
      io.out(options.json === true ? JSON.stringify({ coupons }, undefined, 2) : couponTable(coupons));
    });

  for (const [verb, description] of [
    ['pause', 'stop new claims; who has one still gets the receipt'],
    ['resume', 'let claims go on'],
    ['release', 'hand out again what is withheld: numbers that a dead worker may have told users of'],
  ] as const) {
    coupon
      .command(`${verb} <id>`)
      .description(description)
      .addOption(json())
      .action(async (couponId: string, options: Output) => {
        const ask = await connectAdmin(io.environment);
        print(io, options.json, await ask({ method: 'POST', path: `${pathOf(couponId)}/${verb}` }));
      });
  }

  coupon
    .command('adjust <id>')
    .description('grant more units, or take some back that nobody has claimed')
    .requiredOption('--delta <n>', 'units to add; negative to take back', wholeNumber)
    .requiredOption('--reason <text>', 'for the stock log')
    .option('--idempotency-key <key>', 'repeating a change with its key never applies it twice (default: random)')
    .addOption(json())
    .action(async (couponId: string, options: AdjustOptions) => {
      const { delta, reason, idempotencyKey = randomUUID() } = options;
      const ask = await connectAdmin(io.environment);
      // Before the request: whoever gets no answer needs it to repeat the change safely.
      if (options.idempotencyKey === undefined) io.err(`idempotency key: ${idempotencyKey}`);
      const adjustment = (await ask({
        method: 'POST',
        path: `${pathOf(couponId)}/stock`,
        body: { delta, reason },
        headers: { 'idempotency-key': idempotencyKey },
      })) as Adjustment;
      print(io, options.json, options.json === true ? adjustment : adjustment.coupon);
    });
}

async function listAll(io: CommandIo): Promise<CouponBody[]> {
  const ask = await connectAdmin(io.environment);
  const coupons: CouponBody[] = [];
  let after: string | null = '';
  while (after !== null) {
    const page = (await ask({ path: `/v1/coupons?limit=${LIST_PAGE}&after=${after}` })) as {
      coupons: CouponBody[];
      next: string | null;
    };
    coupons.push(...page.coupons);
    after = page.next;
  }
  return coupons;
}

function pathOf(couponId: string): string {
  return `/v1/coupons/${encodeURIComponent(couponId)}`;
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (!/^[+-]?\d+$/.test(text) || !Number.isSafeInteger(number)) throw new InvalidArgumentError('Not a whole number.');
  return number;
}

function print(io: CommandIo, asJson: true | undefined, answer: unknown): void {
  io.out(asJson === true ? JSON.stringify(answer, undefined, 2) : describe(answer as CouponBody));
}

/** One line per fact. */
function describe(coupon: CouponBody): string {
  const facts: [string, unknown][] = [
    ['coupon', coupon.couponId],
    ['state', coupon.state ?? 'not known: Redis cannot be asked'],
    ['total', coupon.total],
    ['remaining', coupon.remaining ?? '?'],
    ['claimed', coupon.claimed ?? '?'],
    ...(coupon.returnable ? [['returned', coupon.returned ?? '?'] as [string, unknown]] : []),
    ['in the ledger', coupon.ledger.claimed],
    ['opens', coupon.opensAt ?? 'at once'],
    ['closes', coupon.closesAt ?? 'never'],
    ['acknowledged at', coupon.ack],
  ];
  if (coupon.archivedAt !== null) facts.push(['archived', coupon.archivedAt]);
  if (coupon.withheld > 0) facts.push(['withheld', coupon.withheld]);
  const width = Math.max(...facts.map(([name]) => name.length));
  return facts.map(([name, value]) => `${name.padEnd(width)}  ${String(value)}`).join('\n');
}

function couponTable(coupons: readonly CouponBody[]): string {
  if (coupons.length === 0) return 'There is no coupon yet. Make one with `stampede coupon create <id> --total <n>`.';
  const table = new Table({
    head: ['coupon', 'state', 'remaining', 'claimed', 'returned', 'withheld', 'total'],
    style: { head: [], border: [] },
  });
  for (const { couponId, state, remaining, claimed, returned, withheld, total } of coupons) {
    table.push([couponId, state ?? '?', remaining ?? '?', claimed ?? '?', returned ?? '?', withheld, total]);
  }
  return table.toString();
}
