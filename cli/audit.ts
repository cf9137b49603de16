// `stampede audit`: checks every invariant over Redis, outbox and MySQL, and tells people and scripts the result.
// `stampede reconcile`: the same, with the repairs that are safe.
import Table from 'cli-table3';
import type { Command } from 'commander';
import { EXIT } from '../cluster/exit-codes.js';
import type { AuditReport } from '../coupons/coupons.js';
import type { Reconciliation } from '../coupons/reconcile.js';
import { AUDIT_TIMEOUT_MS, connectAdmin, processIo, ServiceUnreachable } from './admin-client.js';
import type { CommandIo } from './admin-client.js';

/** Columns of the statements and examples, so that the table fits a terminal of 100. */
const TEXT_WIDTH = 62;

/** Adds the commands to the program. Exit code of the audit 0: all hold; 1: a violation, or no audit was possible; 2: no service. */
export function registerAuditCommand(program: Command, io: CommandIo = processIo()): void {
  program
    .command('reconcile')
    .description('check every invariant now, and repair what is safe to repair')
    .option('--json', 'print the answer of the admin API')
    .action(async (options: { json?: true }) => {
      const ask = await connectAdmin(io.environment);
      const request = { method: 'POST', path: '/v1/reconciliations', timeoutMs: AUDIT_TIMEOUT_MS } as const;
      const { report, repairs } = (await ask(request)) as Reconciliation;
      const lines = [describe(report), ...repairs.map(({ couponId, what }) => `repaired: ${couponId}: ${what}`)];
      io.out(options.json === true ? JSON.stringify({ report, repairs }, undefined, 2) : lines.join('\n'));
      io.exitCode(report.ok ? EXIT.ok : EXIT.failed);
    });

  program
    .command('audit')
    .description('check every invariant of the running service')
    .option('--json', 'print the report of the admin API')
    .addHelpText(
      'after',
      `\nExit codes: ${EXIT.ok} all hold, ${EXIT.failed} a violation or no audit possible, ${EXIT.unreachable} the service does not answer.`,
    )
    .action(async (options: { json?: true }) => {
      let report: AuditReport;
      try {
        const ask = await connectAdmin(io.environment);
        report = (await ask({ path: '/v1/audit', timeoutMs: AUDIT_TIMEOUT_MS })) as AuditReport;
      } catch (error) {
        if (!(error instanceof ServiceUnreachable)) throw error;
        io.err(`stampede: ${error.message}`);
        io.exitCode(EXIT.unreachable);
        return;
      }
      io.out(options.json === true ? JSON.stringify(report, undefined, 2) : describe(report));
      io.exitCode(report.ok ? EXIT.ok : EXIT.failed);
    });
}

function describe(report: AuditReport): string {
  const table = new Table({
    head: ['', 'invariant', 'checked', 'violations'],
    colWidths: [4, TEXT_WIDTH, null, null],
    wordWrap: true,
    style: { head: [], border: [] },
  });
  for (const { name, statement, checked, violations, examples } of report.invariants) {
    table.push([name, [statement, ...examples.map((example) => `✗ ${example}`)].join('\n'), checked, violations]);
  }
  const { coupons, claims, outboxEntries, deadLetters, durationMs, ok } = report;
  const scope = `${count(coupons, 'coupon')}, ${count(claims, 'claim')}, ${outboxEntries} on the way to MySQL, ${count(deadLetters, 'dead letter')}, ${(durationMs / 1_000).toFixed(1)} s`;
  return `${table.toString()}\n${ok ? 'Every invariant holds' : 'INVARIANTS ARE VIOLATED'}: ${scope}.`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
