// `stampede debug …`: looks into the processes of the running service through the admin port. Shows text as the pages
// give it, and saves profiles and snapshots to files that are this user's alone.
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { EXIT } from '../cluster/exit-codes.js';
import type { LeakReport } from '../diagnostics/model.js';
import { openAdmin, processIo, ServiceUnreachable } from './admin-client.js';
import type { CommandIo } from './admin-client.js';
import { registerHeapCommands } from './debug-heap.js';

const FILE_MODE = 0o600;
const SECONDS_DEFAULT = 5;
/** The longest profile that an agent takes. */
const SECONDS_MAX = 300;
/** On top of the seconds asked for: a snapshot of a large heap takes minutes. */
const ANSWER_TIMEOUT_MS = 300_000;

interface Worker {
  readonly name: string;
  readonly verdict?: LeakReport['verdict'];
}

export function registerDebugCommands(program: Command, io: CommandIo = processIo()): void {
  const debug = program
    .command('debug')
    .description('look into the running processes: leaks, stacks, profiles, heaps')
    .addHelpText('after', HELP)
    .action(async () => {
      io.out(await read(io, '/debug'));
    });

  debug
    .command('leaks [process]')
    .description('which lines leak, since when, how fast, and what to do')
    .action(async (name: string | undefined) => {
      const { workers } = JSON.parse(await read(io, '/debug/workers')) as { workers: Worker[] };
      const asked = workers.filter((worker) => worker.verdict !== undefined && (name ?? worker.name) === worker.name);
      if (asked.length === 0)
        throw new Error(
          `No process of that name answers. There are ${workers.map((worker) => worker.name).join(', ')}.`,
        );
      for (const worker of asked)
        io.out(`── ${worker.name}\n${await read(io, `${pagesOf(worker.name)}/leaks?format=text`)}`);
      io.exitCode(asked.some(({ verdict }) => verdict === 'leaking') ? EXIT.failed : EXIT.ok);
    });

  const texts = {
    stack: 'what the main thread runs now, also while it is blocked',
    async: 'live async resources by the line that made them',
    promises: 'pending and abandoned promises by the line that made them',
    timers: 'timers by the line that made them',
    handles: 'sockets, servers and children that are open',
    eventloop: 'delay and utilisation of the event loop',
    gc: 'pauses of garbage collection',
  };
  for (const [page, description] of Object.entries(texts)) {
    debug
      .command(`${page} <process>`)
      .description(description)
      .action(async (name: string) => {
        io.out(await read(io, `${pagesOf(name)}/${page}?debug=2&format=text`));
      });
  }

  debug
    .command('profile <process>')
    .description('save a CPU profile for `go tool pprof` and speedscope')
    .option('--seconds <n>', 'how long to watch', seconds, SECONDS_DEFAULT)
    .option('--out <file>', 'where to (default: a name with the process and the time)')
    .action(async (name: string, options: SaveOptions) => {
      const file = options.out ?? fileName(name, 'cpu.pb.gz');
      await save(io, `${pagesOf(name)}/profile?seconds=${options.seconds}`, file);
      io.out(file);
    });
  debug
    .command('heap <process>')
    .description('save a heap profile: memory allocated meanwhile and still alive')
    .option('--seconds <n>', 'how long to watch', seconds, SECONDS_DEFAULT)
    .option('--gc', 'collect garbage before looking')
    .option('--out <file>', 'where to (default: a name with the process and the time)')
    .action(async (name: string, options: SaveOptions & { gc?: true }) => {
      const collect = options.gc === true ? '&gc=1' : '';
      const page = `${pagesOf(name)}/heap?seconds=${options.seconds}${collect}`;
      const file = options.out ?? fileName(name, 'heap.pb.gz');
      await save(io, page, file);
      io.out(file);
    });
  debug
    .command('snapshot <process>')
    .description('save a heap snapshot; stops the process meanwhile, and holds its secrets')
    .option('--out <file>', 'where to (default: a name with the process and the time)')
    .action(async (name: string, { out = fileName(name, 'heapsnapshot') }: { out?: string }) => {
      await save(io, snapshotOf(name), out);
      io.out(out);
    });
  registerHeapCommands(debug, (name, file) => save(io, snapshotOf(name), file), io);
  debug
    .command('trace <process>')
    .description('record every async resource for some seconds; makes the process many times slower meanwhile')
    .option('--seconds <n>', 'how long to record', seconds, SECONDS_DEFAULT)
    .option('--mode <mode>', 'all, promises or without-promises', 'all')
    .action(async (name: string, options: { seconds: number; mode: string }) => {
      const query = `seconds=${options.seconds}&mode=${encodeURIComponent(options.mode)}&format=text`;
      io.out(await read(io, `${pagesOf(name)}/trace?${query}`, 'POST'));
    });
}

const HELP = `
Without a command: every process with its vital signs, and the suspects.

  stampede debug leaks                    exit code ${EXIT.failed} when a process leaks
  stampede debug stack http-1             the blocking line, while it blocks
  stampede debug growth http-1            what grew in a minute, and what holds it
  stampede debug profile http-1           then: go tool pprof -http :8081 <file>

Processes are called primary, http-1 …, ledger-1, admin-1. The pages themselves, for a browser (the user name is free, the
password is the admin token): http://ADMIN_HOST:ADMIN_PORT/debug. docs/diagnostics.md explains them.`;

interface SaveOptions {
  readonly seconds: number;
  readonly out?: string;
}

function snapshotOf(name: string): string {
  return `${pagesOf(name)}/heap/snapshot`;
}

function pagesOf(name: string): string {
  return `/debug/workers/${encodeURIComponent(name)}`;
}

async function read(io: CommandIo, path: string, method: 'GET' | 'POST' = 'GET'): Promise<string> {
  const response = await open(io, path, method);
  return (await response.text()).trimEnd();
}

async function open(io: CommandIo, path: string, method: 'GET' | 'POST' = 'GET'): Promise<Response> {
  const admin = await openAdmin(io.environment);
  return admin({ method, path, timeoutMs: ANSWER_TIMEOUT_MS + SECONDS_MAX * 1_000 });
}

/** A file that is there already is not overwritten. */
async function save(io: CommandIo, path: string, file: string): Promise<void> {
  const { body } = await open(io, path);
  if (body === null) throw new ServiceUnreachable('The answer has no body.');
  await pipeline(Readable.fromWeb(body), createWriteStream(file, { mode: FILE_MODE, flags: 'wx' }));
}

function fileName(name: string, ending: string): string {
  return `${name}-${new Date().toISOString().replace(/[:.]/g, '-')}.${ending}`;
}

function seconds(text: string): number {
  const number = Number(text);
  if (!(number > 0) || number > SECONDS_MAX)
    throw new InvalidArgumentError(`A number above 0, at most ${SECONDS_MAX}.`);
  return number;
}
