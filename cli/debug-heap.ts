// `stampede debug classes` and `stampede debug growth`: what fills a heap, and what grew between two moments. The heap
// snapshots are read here, in this process, never in one that serves; what was fetched for it is deleted afterwards.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { table, mebibytes } from '../diagnostics/endpoints/text.js';
import { classHistogram, heapGrowth } from '../diagnostics/heap/growth.js';
import type { ClassGrowth } from '../diagnostics/heap/growth.js';
import { readHeapSnapshot } from '../diagnostics/heap/snapshot-file.js';
import type { CommandIo } from './admin-client.js';

const ROWS_SHOWN = 25;
const PATHS_SHOWN = 10;
const SECONDS_DEFAULT = 60;
const SECONDS_MAX = 3_600;

/** Saves a heap snapshot of the process in a file. */
export type FetchSnapshot = (name: string, file: string) => Promise<void>;

/** Adds both commands below `debug`. */
export function registerHeapCommands(debug: Command, fetchSnapshot: FetchSnapshot, io: CommandIo): void {
  debug
    .command('classes [process]')
    .description('what fills the heap, by class; stops the process while it takes the snapshot')
    .option('--file <snapshot>', 'read this .heapsnapshot instead')
    .action(async (name: string | undefined, { file }: { file?: string }) => {
      const graph = await inScratchFolder(async (folder) => {
        if (file !== undefined) return readHeapSnapshot(file);
        const fetched = join(folder, 'now.heapsnapshot');
        await fetchSnapshot(named(name), fetched);
        return readHeapSnapshot(fetched);
      });
      const rows = classHistogram(graph).slice(0, ROWS_SHOWN);
      io.out(table([['class', 'count', 'size'], ...rows.map((row) => [row.name, row.count, mebibytes(row.bytes)])]));
    });

  debug
    .command('growth [process]')
    .description('what grew between two moments, by class, and what holds it; stops the process twice')
    .option('--seconds <n>', 'how long to wait between the two', seconds, SECONDS_DEFAULT)
    .option('--before <snapshot>', 'compare this .heapsnapshot …')
    .option('--after <snapshot>', '… with this one instead')
    .action(async (name: string | undefined, options: { seconds: number; before?: string; after?: string }) => {
      const { before, after } = options;
      if ((before === undefined) !== (after === undefined)) throw new Error('Give both --before and --after, or none.');
      const growth = await inScratchFolder(async (folder) => {
        if (before !== undefined && after !== undefined) return compare(before, after);
        const [first, second] = [join(folder, 'before.heapsnapshot'), join(folder, 'after.heapsnapshot')];
        await fetchSnapshot(named(name), first);
        io.err(`the first snapshot is here, the second follows in ${options.seconds} s`);
        await delay(options.seconds * 1_000);
        await fetchSnapshot(named(name), second);
        return compare(first, second);
      });
      io.out(growthText(growth));
    });
}

async function compare(before: string, after: string): Promise<ClassGrowth[]> {
  return heapGrowth(await readHeapSnapshot(before), await readHeapSnapshot(after));
}

function growthText(growth: readonly ClassGrowth[]): string {
  if (growth.length === 0) return 'Nothing grew.';
  const rows = growth
    .slice(0, ROWS_SHOWN)
    .map(({ name, count, bytes, now }) => [name, `+${count}`, `+${mebibytes(bytes)}`, now]);
  const paths = growth
    .slice(0, PATHS_SHOWN)
    .flatMap(({ name, path }) => (path === undefined ? [] : [`${name}: ${path.count} more by\n    ${path.text}`]));
  return [table([['class', 'more', 'size', 'now'], ...rows]), '', 'held, root first:', ...paths].join('\n');
}

function named(name: string | undefined): string {
  if (name === undefined) throw new Error('Of which process? `stampede debug` lists them.');
  return name;
}

/** A snapshot holds secrets: the folder is this user's alone (mkdtemp makes it 0700) and goes when the work is done. */
async function inScratchFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'stampede-heap-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function seconds(text: string): number {
  const number = Number(text);
  if (!(number > 0) || number > SECONDS_MAX)
    throw new InvalidArgumentError(`A number above 0, at most ${SECONDS_MAX}.`);
  return number;
}
