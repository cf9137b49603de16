// The command `start`: prepares what the cluster needs, runs the primary until a signal or a failure ends it, and undoes
// it all in the opposite order. It opens no connection to a database: the ledger migrates, each worker waits for what it needs.
//
//   lock the folder → embedded servers → admin token → primary … ended → embedded servers stop → unlock
//
// A signal at any of these arrows leads to the way back.
import { socketFolder, startProcessDiagnostics } from '../cluster/diagnostics.js';
import { join } from 'node:path';
import { EXIT } from '../cluster/exit-codes.js';
import { saveHeapProfile } from '../cluster/primary/heap-profile.js';
import { Primary } from '../cluster/primary/primary.js';
import type { Ending } from '../cluster/primary/primary.js';
import { ensureAdminToken } from '../platform/admin-token.js';
import { lockFolder } from '../platform/embedded/folder-lock.js';
import { makePrivateFolder } from '../platform/embedded/private-files.js';
import { startEmbeddedServers } from '../platform/embedded/servers.js';
import type { EmbeddedServers } from '../platform/embedded/servers.js';
import { ConfigurationError, messageOf } from '../platform/errors.js';
import { createLog } from '../platform/log.js';
import type { Log } from '../platform/log.js';
import { Metrics } from '../platform/metrics/metrics.js';
import { packagePath } from '../platform/package-root.js';
import { readSettings } from '../platform/settings.js';
import type { Settings } from '../platform/settings.js';
import { followPm2 } from './pm2.js';
import type { Pm2 } from './pm2.js';
import { createProgress } from './progress.js';
import type { Progress } from './progress.js';
import { listenForSignals } from './signals.js';
import type { Signals } from './signals.js';
import { readyText, reloadedText, waitingFor } from './start-report.js';

/** How often a start that is not ready yet says what it waits for, if that has changed. */
const WAITING_REPORT_MS = 5_000;

interface Start {
  readonly settings: Settings;
  readonly signals: Signals;
  readonly pm2: Pm2;
  readonly progress: Progress;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Runs the service until it ends, and returns how. Throws `ConfigurationError` and errors of the embedded servers. */
export async function start(environment: Readonly<Record<string, string | undefined>>): Promise<Ending> {
  const settings = readSettings(environment);
  // A reader that has gone (`npm start | head`, a closed terminal) is no reason to end a service.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  const signals = listenForSignals();
  const pm2 = followPm2(process, environment);
  const progress = createProgress();
  const log = createLog('primary', settings.logLevel);
  const metrics = new Metrics({ name: 'primary', role: 'primary', log });
  try {
    return await inLockedFolder({ settings, signals, pm2, progress, log, metrics });
  } catch (error) {
    // What was interrupted may fail in any way; the wish to stop is the reason.
    if (signals.stop.aborted) return { code: signals.hurry.aborted ? EXIT.hurried : EXIT.ok };
    throw error;
  } finally {
    progress.stop();
    signals.close();
    pm2.close();
  }
}

async function inLockedFolder(context: Start): Promise<Ending> {
  const { settings, metrics, log } = context;
  const { dir } = settings;
  const lock = await orConfigurationError(`STAMPEDE_DIR (${dir})`, async () => {
    const locked = await lockFolder(dir);
    await makePrivateFolder(socketFolder({ dir }));
    return locked;
  });
  const diagnostics = startProcessDiagnostics({ name: 'primary', role: 'primary', settings, metrics, log });
  try {
    return await withServers(context);
  } finally {
    await diagnostics?.stop();
    await lock.release();
  }
}

async function withServers(context: Start): Promise<Ending> {
  const { settings, signals, progress, log } = context;
  const failed = new AbortController();
  const servers = await startEmbeddedServers({
    dir: settings.dir,
    redis: settings.redisUrl === undefined,
    mysql: settings.mysqlUrl === undefined,
    report: (step) => progress.step(step),
    log,
    signal: signals.stop,
    onFailure: (reason) => failed.abort(reason),
  });
  try {
    signals.stop.throwIfAborted();
    const ending = await runPrimary(context, await workerEnvironment(settings, servers), failed.signal);
    if (!failed.signal.aborted || ending.code !== EXIT.ok) return ending;
    return { code: EXIT.serverFailed, message: String(failed.signal.reason) };
  } finally {
    await servers.stop();
  }
}

/** What the start has found out and the workers must be told. */
async function workerEnvironment(settings: Settings, servers: EmbeddedServers): Promise<Record<string, string>> {
  const redisUrl = settings.redisUrl ?? servers.redisUrl;
  const mysqlUrl = settings.mysqlUrl ?? servers.mysqlUrl;
  if (redisUrl === undefined || mysqlUrl === undefined) throw new Error('an embedded server did not tell its URL');
  return { REDIS_URL: redisUrl, MYSQL_URL: mysqlUrl, ADMIN_TOKEN: await ensureAdminToken(settings) };
}

async function runPrimary(
  { settings, signals, pm2, progress, log, metrics }: Start,
  workerEnvironment: Record<string, string>,
  serverFailed: AbortSignal,
): Promise<Ending> {
  let announced = false;
  const profiles = { socketFolder: socketFolder(settings), folder: join(settings.dir, 'profiles'), log };
  const primary = new Primary({
    settings,
    workerScript: packagePath('dist', 'cluster', 'worker.js'),
    workerEnvironment,
    log,
    metrics,
    saveHeapProfile: (worker) => saveHeapProfile(profiles, worker),
    onChange: () => {
      if (announced || !primary.ready) return;
      announced = true;
      clearInterval(waiting);
      process.stdout.write(readyText(settings, process.cwd()));
      pm2.ready();
    },
  });
  let reported: string | undefined;
  const waiting = setInterval(() => {
    const text = waitingFor(primary.processes());
    if (text !== undefined && text !== reported) progress.note(text);
    reported = text;
  }, WAITING_REPORT_MS);
  progress.step('Starting the workers');
  // The workers log to the terminal from here on; a spinner would draw over their lines.
  progress.done();

  primary.start();
  signals.onReload(() => {
    primary.reload().catch((error: unknown) => log.error({ err: error }, 'reload failed'));
  });
  pm2.onReload(async () => reloadedText(await primary.reload()));
  onAbort(serverFailed, () => primary.stop());
  onAbort(signals.stop, () => primary.stop());
  onAbort(signals.hurry, () => primary.hurry());
  try {
    return await primary.ended;
  } finally {
    clearInterval(waiting);
  }
}

function onAbort(signal: AbortSignal, act: () => void): void {
  if (signal.aborted) act();
  else signal.addEventListener('abort', act, { once: true });
}

/** Errors of the file system become one line that names the setting they come from. */
async function orConfigurationError<T>(subject: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ConfigurationError || !(error instanceof Error && 'syscall' in error)) throw error;
    throw new ConfigurationError(`${subject} cannot be used: ${messageOf(error)}`);
  }
}
