// `stampede dead-letters …`: what the ledger could not settle, and another attempt.
import Table from 'cli-table3';
import { Option } from 'commander';
import type { Command } from 'commander';
import type { LetterBody } from '../cluster/admin/dead-letter-routes.js';
import { connectAdmin, processIo, RequestRefused } from './admin-client.js';
import type { AskAdmin, CommandIo } from './admin-client.js';

const LIST_PAGE = 200;

/** Adds the command to the program. */
export function registerDeadLetterCommands(program: Command, io: CommandIo = processIo()): void {
  const letters = program.command('dead-letters').description('outbox entries that MySQL does not take');

  letters
    .command('list')
    .description('list them by id, with the reason of the latest attempt')
    .addOption(new Option('--json', 'print the answer of the admin API'))
    .action(async ({ json }: { json?: true }) => {
      const listed = await listAll(await connectAdmin(io.environment));
      io.out(json === true ? JSON.stringify({ deadLetters: listed }, undefined, 2) : letterTable(listed));
    });

  letters
    .command('retry <ids...>')
    .description('try some again, now; exits 1 when one is refused again')
    .action(async (ids: string[]) => {
      const ask = await connectAdmin(io.environment);
      for (const id of ids) {
        try {
          await ask({ method: 'POST', path: `/v1/dead-letters/${encodeURIComponent(id)}/retry` });
          io.out(`${id}: settled`);
        } catch (error) {
          if (!(error instanceof RequestRefused)) throw error;
          io.err(`${id}: ${error.message}`);
          io.exitCode(1);
        }
      }
    });
}

async function listAll(ask: AskAdmin): Promise<LetterBody[]> {
  const listed: LetterBody[] = [];
  for (let after: number | null = 0; after !== null;) {
    const path = `/v1/dead-letters?limit=${LIST_PAGE}&after=${after}`;
    const page = (await ask({ path })) as { deadLetters: LetterBody[]; next: number | null };
    listed.push(...page.deadLetters);
    after = page.next;
  }
  return listed;
}

function letterTable(letters: readonly LetterBody[]): string {
  if (letters.length === 0) return 'There is no dead letter.';
  const table = new Table({
    head: ['id', 'kind', 'coupon', 'number', 'user', 'status', 'attempts', 'reason'],
    style: { head: [], border: [] },
  });
  for (const { id, kind, couponId, claimNo, userId, status, attempts, reason } of letters) {
    table.push([id, kind, couponId ?? '', claimNo ?? '', userId ?? '', status, attempts, reason]);
  }
  return table.toString();
}
