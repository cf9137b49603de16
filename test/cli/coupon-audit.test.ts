// The commands that speak with the admin API, against a real admin server: what they print, and how they fail.
import { Command } from 'commander';
import { beforeEach, describe, expect, test } from 'vitest';
import { registerAuditCommand } from '../../cli/audit.js';
import { registerCouponCommands } from '../../cli/coupon.js';
import { registerDeadLetterCommands } from '../../cli/dead-letters.js';
import { registerRebuildCommand } from '../../cli/rebuild.js';
import { ADMIN_TOKEN, letterOf, startAdminApi } from '../cluster/admin/admin-api.js';
import { unusedPort } from '../cluster/http/raw-http.js';

const { port, coupons } = await startAdminApi();
const here = { ADMIN_PORT: String(port), ADMIN_TOKEN };
const nowhere = { ADMIN_PORT: String(await unusedPort()), ADMIN_TOKEN };

interface Result {
  readonly out: string;
  readonly err: string;
  readonly exitCode: number | undefined;
}

/** Rejects as the program would see it. */
async function run(line: string, environment: Record<string, string> = here): Promise<Result> {
  const out: string[] = [];
  const err: string[] = [];
  let exitCode: number | undefined;
  const io = {
    environment,
    out: (text: string) => out.push(text),
    err: (text: string) => err.push(text),
    exitCode: (code: number) => {
      exitCode = code;
    },
  };
  const program = new Command('stampede').exitOverride().configureOutput({ writeErr: (text) => err.push(text) });
  registerCouponCommands(program, io);
  registerAuditCommand(program, io);
  registerDeadLetterCommands(program, io);
  registerRebuildCommand(program, io);
  await program.parseAsync(line.split(' '), { from: 'user' });
  return { out: out.join('\n'), err: err.join('\n'), exitCode };
}

beforeEach(() => {
  coupons.coupons.clear();
  coupons.auditOk = true;
});

describe('coupon', () => {
  test('create, show, pause, resume and list tell the state', async () => {
    const created = await run(
      'coupon create summer --total 10 --closes-at 2026-12-01T00:00:00Z --ack ledger --returnable',
    );
    expect(created.out).toMatch(/^coupon +summer$/m);
    expect(created.out).toMatch(/^closes +2026-12-01T00:00:00.000Z$/m);
    expect(coupons.coupons.get('summer')).toMatchObject({ ack: 'ledger', returnable: true });
    expect((await run('coupon show summer')).out).toMatch(/^remaining +10$/m);
    await run('coupon pause summer');
    expect(coupons.coupons.get('summer')?.paused).toBe(true);
    await run('coupon resume summer');
    expect(coupons.coupons.get('summer')?.paused).toBe(false);
    expect((await run('coupon list')).out).toMatch(/summer.*open.*10.*0.*0.*10/);
  });

  test('list goes through every page', async () => {
    for (let i = 0; i < 450; i++) {
      await coupons.create({
        couponId: `c${i}`,
        total: 1,
        opensAt: null,
        closesAt: null,
        ack: 'fsync',
        returnable: false,
      });
    }
    const { coupons: listed } = JSON.parse((await run('coupon list --json')).out) as { coupons: unknown[] };
    expect(listed).toHaveLength(450);
  });

  test('adjust makes up a key and prints it, or takes the one it is given', async () => {
    await run('coupon create summer --total 10');
    const { out, err } = await run('coupon adjust summer --delta -3 --reason fewer');
    expect(out).toMatch(/^total +7$/m);
    const key = /^idempotency key: (\S+)$/.exec(err)?.[1];
    expect(coupons.adjustments.get(String(key))).toMatchObject({ delta: -3, reason: 'fewer' });
    const given = await run('coupon adjust summer --delta 1 --reason more --idempotency-key mine --json');
    expect(given.err).toBe('');
    expect(JSON.parse(given.out)).toMatchObject({ delta: 1, idempotencyKey: 'mine', coupon: { total: 8 } });
  });

  test('what the service refuses is one line with the code', async () => {
    await expect(run('coupon show nothing')).rejects.toThrow('There is no coupon with this id. (unknown_coupon)');
    await expect(run('coupon create summer --total 0')).rejects.toThrow(/total must be >= 1 \(invalid_body\)$/);
    await expect(run('coupon show a/../b')).rejects.toThrow(/\(invalid_coupon_id\)$/);
  });

  test.each([
    'coupon create x',
    'coupon create x --total many',
    'coupon create x --total 1 --ack never',
    'coupon adjust x --delta 1',
  ])('"%s" is wrong usage and never reaches the service', async (line) => {
    await expect(run(line, nowhere)).rejects.toMatchObject({ name: 'CommanderError' });
  });

  test('without a service says how to start it', async () => {
    await expect(run('coupon list', nowhere)).rejects.toThrow(/No service answers at .+ \(ECONNREFUSED\).+npm start/);
  });

  test('with a wrong token says where to look', async () => {
    await expect(run('coupon list', { ...here, ADMIN_TOKEN: 'x'.repeat(20) })).rejects.toThrow(/ADMIN_TOKEN/);
  });
});

describe('audit', () => {
  test('is 0 and a table when everything holds', async () => {
    const { out, exitCode } = await run('audit');
    expect(exitCode).toBe(0);
    expect(out).toMatch(/I1.*Claims held never exceed.*1.*0/);
    expect(out).toContain('Every invariant holds: 1 coupon, 10 claims');
  });

  test('is 1 and names examples when something does not', async () => {
    coupons.auditOk = false;
    const { out, exitCode } = await run('audit');
    expect(exitCode).toBe(1);
    expect(out).toContain('✗ summer: 12 claims of 10 units');
    expect(out).toContain('INVARIANTS ARE VIOLATED');
    expect(JSON.parse((await run('audit --json')).out)).toMatchObject({ ok: false });
  });

  test('is 2 without a service', async () => {
    expect(await run('audit', nowhere)).toMatchObject({
      exitCode: 2,
      out: '',
      err: expect.stringContaining('npm start') as string,
    });
    // Never started here: no token was made yet.
    const { exitCode } = await run('audit', { ADMIN_PORT: nowhere.ADMIN_PORT, STAMPEDE_DIR: '/nonexistent/stampede' });
    expect(exitCode).toBe(2);
  });
});

test('reconcile tells of the audit and the repairs', async () => {
  const { out, exitCode } = await run('reconcile');
  expect(exitCode).toBe(0);
  expect(out).toContain('Every invariant holds');
  expect(out).toContain('repaired: summer: remaining stock lowered by 2 to 0');
  expect(JSON.parse((await run('reconcile --json')).out)).toMatchObject({ report: { ok: true }, repairs: [{}] });
});

describe('rebuild', () => {
  test('lists the shards without a number, and waits until those it was given are open again', async () => {
    expect((await run('rebuild')).out).toMatch(/0.*4.*open[^]*1.*7.*rebuilding/);
    const { out, exitCode } = await run('rebuild 0');
    expect(out).toMatch(/0.*5.*open/);
    expect(out).not.toContain('rebuilding');
    expect(exitCode).toBeUndefined();
    expect((await run('rebuild --all')).out).toMatch(/0.*6.*open[^]*1.*8.*open/);
    await expect(run('rebuild 9')).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('dead-letters', () => {
  test('list goes through every page and tells the reason', async () => {
    coupons.letters = [];
    expect((await run('dead-letters list')).out).toBe('There is no dead letter.');
    coupons.letters = Array.from({ length: 201 }, (_, i) => letterOf(i + 1));
    expect((await run('dead-letters list')).out).toMatch(/201.*grant.*sale.*201.*user-201.*retrying.*1.*Data too long/);
    const { deadLetters } = JSON.parse((await run('dead-letters list --json')).out) as { deadLetters: unknown[] };
    expect(deadLetters).toHaveLength(201);
  });

  test('retry says what became of each, and is 1 when one is refused', async () => {
    coupons.letters = [letterOf(1), letterOf(2, 'parked'), letterOf(3)];
    const { out, err, exitCode } = await run('dead-letters retry 1 2 3 x');
    expect(out).toBe('1: settled\n3: settled');
    expect(err).toContain('2: MySQL has refused this entry again. Data too long (dead_letter_refused)');
    expect(err).toContain('x: There is no dead letter with this id: it may be settled. (unknown_dead_letter)');
    expect(exitCode).toBe(1);
    expect(coupons.letters.map(({ id }) => id)).toEqual([2]);
  });
});
