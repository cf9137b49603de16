// The command `migrate`: brings the database behind MYSQL_URL to the newest schema. Touches nothing else.
import { ConfigurationError, messageOf } from '../platform/errors.js';
import { readSettings } from '../platform/settings.js';
import { migrate } from '../workers/migrations/migrate.js';
import { createProgress } from './progress.js';

/** Throws `ConfigurationError` when MYSQL_URL is unset or the database belongs to another version. */
export async function migrateCommand(environment: Readonly<Record<string, string | undefined>>): Promise<void> {
  const { mysqlUrl } = readSettings(environment);
  if (mysqlUrl === undefined) {
    throw new ConfigurationError('MYSQL_URL is unset: `npm start` migrates its own server by itself.');
  }
  const progress = createProgress();
  try {
    progress.step('Connecting to MySQL');
    const count = await migrate(mysqlUrl, (line) => progress.step(line)).catch((error: unknown) => {
      if (error instanceof ConfigurationError) throw error;
      throw new Error(`the database behind MYSQL_URL cannot be migrated: ${messageOf(error)}`, { cause: error });
    });
    progress.done();
    process.stdout.write(count === 0 ? 'The tables are up to date.\n' : `${count} migrations applied.\n`);
  } finally {
    progress.stop();
  }
}
