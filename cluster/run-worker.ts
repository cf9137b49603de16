// Runs one actor in a forked process and speaks with the primary on its behalf. It may end the process; it knows
// nothing of what the actor does.
//
//   starting ── start() resolves ──► running ── `drain`, or the primary is gone ──► draining ──► exit 0
//      └── rejects: exit 78 if no restart can help (wrong setting, port taken), else exit 1 and the primary restarts
//
// Signals: SIGINT, SIGTERM and SIGHUP are ignored here. A terminal or a service manager sends them to the whole process
// group, and only the primary may decide on the order in which processes end.
import cluster from 'node:cluster';
import type { Worker } from 'node:cluster';
import { ConfigurationError } from '../platform/errors.js';
import { createLog } from '../platform/log.js';
import type { Log } from '../platform/log.js';
import { Metrics } from '../platform/metrics/metrics.js';
import { readSettings } from '../platform/settings.js';
import type { Diagnostics } from '../diagnostics/start.js';
import { ROLES } from './actor.js';
import type { Actor, ActorFactory, Role } from './actor.js';
import { Channel } from './channel.js';
import { startProcessDiagnostics } from './diagnostics.js';
import { EXIT } from './exit-codes.js';
import type { ExitCode } from './exit-codes.js';
import { fitReasons, fitText } from './messages.js';
import type { Message } from './messages.js';

const READINESS_POLL_MS = 250;
/** How long the last message may take to leave before the process exits anyway. */
const FAREWELL_TIMEOUT_MS = 2_000;

/** Starts the actor named by STAMPEDE_ROLE. Resolves when it runs; the process ends by `process.exit`. */
export async function runWorker(loadFactory: (role: Role) => Promise<ActorFactory>): Promise<void> {
  const { worker } = cluster;
  const { STAMPEDE_ROLE, STAMPEDE_NAME } = process.env;
  const role = ROLES.find((known) => known === STAMPEDE_ROLE);
  if (worker === undefined || role === undefined || STAMPEDE_NAME === undefined) {
    throw new Error('this script is forked by the primary: run `stampede start`');
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
  await new WorkerRun(worker, STAMPEDE_NAME, role).run(loadFactory);
}

class WorkerRun {
  readonly #worker: Worker;
  readonly #name: string;
  readonly #role: Role;
  readonly #channel: Channel;
  readonly #metrics: Metrics;
  #log: Log;
  #diagnostics: Diagnostics | undefined;
  #actor: Actor | undefined;
  /** Settles when `Actor.start()` has: a drain does not cut into it. */
  #started: Promise<void> = Promise.resolve();
  #poll: NodeJS.Timeout | undefined;
  readonly #stopping = new AbortController();
  #draining = false;

  constructor(worker: Worker, name: string, role: Role) {
    this.#worker = worker;
    this.#name = name;
    this.#role = role;
    this.#log = createLog(name, 'info');
    this.#metrics = new Metrics({ name, role, log: this.#log });
    this.#channel = new Channel({
      peer: 'primary',
      send: (message) => this.#send(message, () => undefined),
      notices: {
        ping: () => this.#channel.notify({ kind: 'pong', rssBytes: process.memoryUsage.rss() }),
        drain: ({ deadline }) => this.#drain(deadline),
      },
      answers: { processMetrics: () => this.#metrics.snapshot() },
      log: this.#log,
    });
    // Rejections that nobody handles arrive here too.
    process.on('uncaughtException', (error, origin) => this.#fail(error, origin));
    worker.on('message', (raw) => this.#channel.receive(raw));
    this.#channel.notify({ kind: 'hello' });
  }

  async run(loadFactory: (role: Role) => Promise<ActorFactory>): Promise<void> {
    try {
      const settings = readSettings(process.env);
      this.#log = createLog(this.#name, settings.logLevel);
      this.#followPrimary(settings.drainTimeoutMs);
      // Before the role's code is loaded: what that makes at its start is recorded too.
      this.#diagnostics = startProcessDiagnostics({
        name: this.#name,
        role: this.#role,
        settings,
        metrics: this.#metrics,
        log: this.#log,
        rest: async (limitMs) => this.#rest(limitMs),
      });
      const createActor = await loadFactory(this.#role);
      if (this.#draining) return;
      const actor = createActor({
        name: this.#name,
        settings,
        log: this.#log,
        metrics: this.#metrics,
        cluster: {
          processes: () => this.#channel.request('processes'),
          metrics: () => this.#channel.request('instanceMetrics'),
        },
        fail: (error) => this.#fail(error, 'actor'),
      });
      this.#actor = actor;
      this.#started = actor.start(this.#stopping.signal);
      await this.#started;
    } catch (error) {
      this.#fail(error, 'start');
      return;
    }
    this.#reportReadiness(this.#actor);
  }

  /** Without a primary nobody restarts, reloads or stops this process: it finishes what it has and goes. */
  #followPrimary(drainTimeoutMs: number): void {
    this.#worker.on('disconnect', () => {
      this.#channel.close();
      // Node would end the process right after this event; this tells it that we do so ourselves.
      this.#worker.exitedAfterDisconnect = true;
      this.#log.error('the primary is gone');
      this.#drain(Date.now() + drainTimeoutMs);
      setTimeout(() => process.exit(EXIT.failed), drainTimeoutMs);
    });
  }

  #reportReadiness(actor: Actor): void {
    if (this.#draining) return;
    let reported = fitReasons(actor.unreadyReasons());
    this.#channel.notify({ kind: 'started', unreadyReasons: reported });
    this.#poll = setInterval(() => {
      const reasons = fitReasons(actor.unreadyReasons());
      if (reasons.join('\n') === reported.join('\n')) return;
      reported = reasons;
      this.#channel.notify({ kind: 'readiness', unreadyReasons: reasons });
    }, READINESS_POLL_MS);
  }

  #fail(error: unknown, origin: string): void {
    if (error instanceof ConfigurationError) {
      this.#sendLast({ kind: 'fatal', message: fitText(error.message) }, () => process.exit(EXIT.configuration));
      return;
    }
    this.#log.fatal({ err: error, origin }, 'worker failed');
    process.exit(EXIT.failed);
  }

  /** About to stand still: the primary is told before, so that it takes nobody for hung, and the actor leaves its work to others. */
  async #rest(limitMs: number): Promise<() => Promise<void>> {
    await new Promise<void>((sent) => this.#send({ kind: 'standstill', forMs: limitMs }, () => sent()));
    // A process that drains takes nothing new as it is.
    const resume = this.#draining ? undefined : await this.#actor?.rest?.();
    return async () => {
      this.#channel.notify({ kind: 'standstill', forMs: 0 });
      await resume?.();
    };
  }

  #drain(deadline: number): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#stopping.abort();
    clearInterval(this.#poll);
    setTimeout(() => this.#explainDelay(), Math.max(0, deadline - Date.now()));
    this.#drainActor(deadline).then(
      (code) => this.#sayTotals().then(() => process.exit(code)),
      (error: unknown) => {
        this.#log.error({ err: error }, 'drain failed');
        process.exit(EXIT.failed);
      },
    );
  }

  /** The deadline has come and this process is still here: its log says what it holds before the primary kills it. */
  #explainDelay(): void {
    this.#log.error({ live: this.#diagnostics?.report() }, 'still draining at the deadline; this is what is open');
  }

  async #drainActor(deadline: number): Promise<ExitCode> {
    try {
      await this.#started;
    } catch {
      // run() reports it and exits.
      return EXIT.failed;
    }
    await this.#actor?.drain(deadline);
    return EXIT.ok;
  }

  /** Nothing that was counted here may be missing from the totals of the instance. */
  async #sayTotals(): Promise<void> {
    const snapshot = await this.#metrics.totals();
    await new Promise<void>((sent) => this.#sendLast({ kind: 'totals', snapshot }, sent));
  }

  #send(message: Message, done: (error: Error | null) => void): void {
    // The primary may be gone: the `disconnect` event says so, an error here adds nothing.
    if (process.connected) this.#worker.send(message, done);
    else done(null);
  }

  #sendLast(message: Message, done: () => void): void {
    setTimeout(done, FAREWELL_TIMEOUT_MS);
    this.#send(message, done);
  }
}
