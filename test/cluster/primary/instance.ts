// Starts a primary with test actors and follows what it and they say.
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { ProcessStatus } from '../../../cluster/actor.js';
import type { Ending } from '../../../cluster/primary/primary.js';
import type { SupervisionLimits } from '../../../cluster/primary/limits.js';
import type { LiveReport } from '../../../diagnostics/agent/live-report.js';
import { packagePath } from '../../../platform/package-root.js';
import { makeScratchFolder } from '../../harness/scratch.js';
import { waitFor } from '../../harness/wait-for.js';

/** What the actors of a role, or the one of a name, do; test-actors.mjs carries it out. */
export interface ActorPlan {
  readonly onStart?: 'run' | 'configuration' | 'crash' | 'fail later' | 'crash later';
  readonly unreadyReasons?: readonly string[];
  readonly drainMs?: number;
  /** Before a heap snapshot. */
  readonly standsStillMs?: number;
  /** Memory that it fills. */
  readonly holdsMb?: number;
  /** On PORT: answers with its pid, and at /metrics with those of the instance. */
  readonly listens?: boolean;
  /** Asks the primary for the list of processes, and says it. */
  readonly asks?: boolean;
}
export type Plans = Readonly<Record<string, ActorPlan>>;

/** One line of the log or of an actor. */
export interface Line {
  readonly actor?: string;
  readonly event?: string;
  readonly pid: number;
  readonly msg?: string;
  readonly worker?: string;
  readonly processes?: ProcessStatus[];
  readonly live?: LiveReport;
}

export interface Instance {
  readonly process: ChildProcess;
  readonly folder: string;
  readonly lines: readonly Line[];
  /** Rewrites the plan; processes that start from now on follow it. */
  plan(plans: Plans): Promise<void>;
  tell(command: 'stop' | 'hurry' | 'reload'): void;
  /** As the primary saw them at the last change. */
  processes(): readonly ProcessStatus[];
  /** The process that holds `name`, once it is ready and not the process `except`. */
  whenReady(name: string, except?: number): Promise<ProcessStatus>;
  whenAllReady(): Promise<void>;
  ended(): Promise<Ending>;
}

/** It ends with the test that starts it. */
export async function startInstance(options: {
  plans?: Plans;
  httpWorkers?: number;
  drainTimeoutMs?: number;
  workerMemoryMaxMb?: number;
  limits?: Partial<SupervisionLimits>;
  environment?: Readonly<Record<string, string>>;
}): Promise<Instance> {
  const { plans = {}, httpWorkers = 1, drainTimeoutMs = 20_000, workerMemoryMaxMb, limits = {} } = options;
  const folder = await makeScratchFolder('primary');
  const planFile = join(folder, 'plan.json');
  const plan = (next: Plans): Promise<void> => writeFile(planFile, JSON.stringify(next));
  await plan(plans);
  const child = fork(packagePath('test', 'cluster', 'primary', 'instance.mjs'), {
    cwd: folder,
    env: {
      PATH: process.env['PATH'],
      // The supervision of many short lives; test/service/diagnostics.test.ts has the agent.
      DIAGNOSTICS: 'off',
      TEST_PLAN: planFile,
      TEST_INSTANCE: JSON.stringify({ settings: { httpWorkers, drainTimeoutMs, workerMemoryMaxMb }, limits }),
      ...options.environment,
    },
    execArgv: [],
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  const exited = once(child, 'exit');
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGCONT');
    if (child.connected) child.send('hurry');
    await exited;
  });

  const lines = collectLines(child);
  let processes: readonly ProcessStatus[] = [];
  let ending: Ending | undefined;
  child.on('message', (message: { processes?: ProcessStatus[]; ending?: Ending }) => {
    processes = message.processes ?? processes;
    ending = message.ending ?? ending;
  });
  const isReady = (process: ProcessStatus): boolean => process.state === 'ready';
  return {
    process: child,
    folder,
    lines,
    plan,
    tell: (command) => void child.send(command),
    processes: () => processes,
    whenReady: (name, except) =>
      waitFor(() => processes.find((one) => one.name === name && one.pid !== except && isReady(one)), {
        what: `${name} to be ready`,
      }),
    whenAllReady: async () => {
      await waitFor(() => processes.length === httpWorkers + 3 && processes.every(isReady), {
        what: 'all to be ready',
      });
    },
    ended: async () => {
      const ended = await waitFor(() => ending, { what: 'the primary to end' });
      await exited;
      return ended;
    },
  };
}

/** Parsed lines of stdout, growing as they come. */
function collectLines(child: ChildProcess): readonly Line[] {
  const lines: Line[] = [];
  let rest = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts.map((part) => JSON.parse(part) as Line));
  });
  return lines;
}
