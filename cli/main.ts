// The command line `stampede`: what commands there are, how they explain themselves, and how errors look: one line,
// never a stack, with the exit code of cluster/exit-codes.ts. What a command does is in the file of its name.
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { EXIT } from '../cluster/exit-codes.js';
import type { ExitCode } from '../cluster/exit-codes.js';
import { ConfigurationError, StampedeError, messageOf } from '../platform/errors.js';
import { packagePath } from '../platform/package-root.js';
import { registerAuditCommand } from './audit.js';
import { registerCouponCommands } from './coupon.js';
import { registerRebuildCommand } from './rebuild.js';
import { registerDeadLetterCommands } from './dead-letters.js';
import { registerDebugCommands } from './debug.js';

function createProgram(): Command {
  const program = new Command('stampede')
    .description('Hands out a limited number of coupons: never one too many, never two to one user, never one lost.')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'explain a command')
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'stampede: ')) })
    .addHelpText(
      'after',
      '\nSettings are environment variables; the README lists them all.' +
        '\nExit codes: 0 done, 1 failed, 64 wrong usage, 78 wrong setting; `stampede start --help` lists those of the service.',
    );
  program
    .command('start')
    .description('run the service until Ctrl-C or SIGTERM')
    .addHelpText('after', START_HELP)
    .action(async () => {
      const { start } = await import('./start.js');
      const ending = await start(process.env);
      if (ending.message !== undefined) complain(ending.message);
      // Everything has been stopped by now; whatever else is open must not keep the service manager waiting.
      process.exit(ending.code);
    });
  program
    .command('migrate')
    .description('bring the database behind MYSQL_URL to the newest schema')
    .addHelpText(
      'after',
      '\nSafe to repeat and to run from several machines at once. Without MYSQL_URL there is nothing to do:' +
        '\n`stampede start` migrates its own server.',
    )
    .action(async () => {
      const { migrateCommand } = await import('./migrate.js');
      await migrateCommand(process.env);
    });
  registerCouponCommands(program);
  registerAuditCommand(program);
  registerDeadLetterCommands(program);
  registerRebuildCommand(program);
  registerDebugCommands(program);
  return program;
}

const START_HELP = `
Starts the primary and its workers (http, ledger, admin). Without REDIS_URL or MYSQL_URL it runs private servers
with their data in STAMPEDE_DIR (.stampede). Prints a line with "stampede ready" when all workers are ready.

Signals:
  SIGINT, SIGTERM  drain in order: http, ledger, admin, then the private servers; a second one cuts it short
  SIGHUP           replace the workers one by one by new ones, without a failed request

Exit codes:
  ${EXIT.ok}   drained in order
  ${EXIT.drainIncomplete}   a worker did not finish within DRAIN_TIMEOUT_MS, or died
  ${EXIT.hurried}   a second signal cut the drain short
  ${EXIT.serverFailed}  a private server could not be kept running
  ${EXIT.crashLoop}  a worker died again and again before it had started
  ${EXIT.configuration}  a setting is wrong, a port is taken, or the folder is in use
`;

function version(): string {
  const { version } = JSON.parse(readFileSync(packagePath('package.json'), 'utf8')) as { version: string };
  return version;
}

function complain(text: string): void {
  process.stderr.write(`stampede: ${text.replaceAll(/\s*\n\s*/g, ' ')}\n`);
}

function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof ConfigurationError) return EXIT.configuration;
  return EXIT.failed;
}

// Whoever reads what is printed may stop reading, as `head` does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(EXIT.ok);
});

try {
  await createProgram().parseAsync(process.argv);
} catch (error) {
  if (error instanceof CommanderError) {
    // commander has printed it already; code 0 means that help or the version was asked for.
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  } else {
    complain(error instanceof StampedeError ? `${messageOf(error)} (${error.code})` : messageOf(error));
    process.exitCode = exitCodeOf(error);
  }
}
