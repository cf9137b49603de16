// `stampede rebuild`: has shards rebuilt, and waits until they are open under a new epoch.
import { setTimeout as sleep } from 'node:timers/promises';
import Table from 'cli-table3';
import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import type { ShardBody } from '../cluster/admin/shard-routes.js';
import { connectAdmin, processIo } from './admin-client.js';
import type { AskAdmin, CommandIo } from './admin-client.js';

/** A rebuild loads every receipt of a shard; a million takes some ten seconds. */
const OPEN_LIMIT_MS = 120_000;
const LOOK_INTERVAL_MS = 250;

/** Adds the command to the program. */
export function registerRebuildCommand(program: Command, io: CommandIo = processIo()): void {
  program
    .command('rebuild [shards...]')
    .description('rebuild shards from MySQL, the outbox and what the workers report; without a number: list them')
    .addOption(new Option('--all', 'rebuild every shard'))
    .addHelpText(
      'after',
      '\nThe service does this by itself whenever Redis has forgotten something. By hand it does no harm: nothing is lost,' +
        '\nand claims of the shard get 503 for a fraction of a second. Exits 1 when a shard is not open again in time.',
    )
    .action(async (given: string[], { all }: { all?: true }) => {
      const ask = await connectAdmin(io.environment);
      const before = await readShards(ask);
      const chosen = all === true ? before.map(({ shard }) => shard) : given.map(shardNumber);
      if (chosen.length === 0) {
        io.out(shardTable(before));
        for (const { mysqlOlder } of before)
          if (mysqlOlder !== undefined) io.err(`MySQL is older than Redis: ${mysqlOlder}`);
        return;
      }
      for (const shard of chosen) await ask({ method: 'POST', path: `/v1/shards/${shard}/rebuild` });
      const epochs = new Map(before.map(({ shard, epoch }) => [shard, epoch]));
      const isDone = ({ shard, epoch, state }: ShardBody): boolean =>
        state === 'open' && epoch > (epochs.get(shard) ?? 0);
      const mine = ({ shard }: ShardBody): boolean => chosen.includes(shard);
      let now = (await readShards(ask)).filter(mine);
      for (const deadline = Date.now() + OPEN_LIMIT_MS; !now.every(isDone) && Date.now() < deadline;) {
        await sleep(LOOK_INTERVAL_MS);
        now = (await readShards(ask)).filter(mine);
      }
      io.out(shardTable(now));
      if (now.every(isDone)) return;
      io.err('Some shards are not open again. The log of the ledger says what is in the way.');
      io.exitCode(1);
    });
}

async function readShards(ask: AskAdmin): Promise<ShardBody[]> {
  return ((await ask({ path: '/v1/shards' })) as { shards: ShardBody[] }).shards;
}

function shardNumber(text: string): number {
  if (!/^\d{1,5}$/.test(text)) throw new InvalidArgumentError(`"${text}" is no number of a shard.`);
  return Number(text);
}

function shardTable(shards: readonly ShardBody[]): string {
  const table = new Table({ head: ['shard', 'epoch', 'state'], style: { head: [], border: [] } });
  for (const { shard, epoch, state } of shards) table.push([shard, epoch, state]);
  return table.toString();
}
