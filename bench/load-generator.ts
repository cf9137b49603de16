// Drives the load generator (load.ts), a process of its own: one job after another, and what is wrong with an answer.
import { Child } from './child.js';
import type { FromLoad, LoadJob, LoadResult, LoadSource, ToLoad } from './load-job.js';

const CONNECT_TIMEOUT_MS = 60_000;
/** Longer than the load generator's own limit for a job. */
const JOB_TIMEOUT_MS = 180_000;

export class LoadGenerator implements LoadSource {
  readonly #child: Child;

  constructor(signal: AbortSignal) {
    this.#child = new Child({ script: 'load', signal });
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Resolves when the job's connections are open, and no request is under way. */
  async connect(job: LoadJob): Promise<void> {
    await this.#ask('connected', { kind: 'connect', ...job }, CONNECT_TIMEOUT_MS);
  }

  /** Does the job that it has connected for. */
  async go(): Promise<LoadResult> {
    return await this.#ask('done', { kind: 'go' }, JOB_TIMEOUT_MS);
  }

  async run(job: LoadJob): Promise<LoadResult> {
    await this.connect(job);
    return await this.go();
  }

  async stop(): Promise<void> {
    await this.#child.stop();
  }

  async #ask<K extends FromLoad['kind']>(
    kind: K,
    message: ToLoad,
    limitMs: number,
  ): Promise<Extract<FromLoad, { kind: K }>> {
    const answer = (await this.#child.answer(limitMs, message)) as FromLoad;
    if (answer.kind !== kind) throw new Error(`expected ${kind}, got ${answer.kind}`);
    return answer as Extract<FromLoad, { kind: K }>;
  }
}

/** A sentence when not every claim of the job got the one answer that it had to get; else none. */
export function complaintsOf(
  what: string,
  { answers, unanswered, failures }: Pick<LoadResult, 'answers' | 'unanswered' | 'failures'>,
  expected: string,
): string[] {
  const asExpected = unanswered === 0 && Object.keys(answers).every((answer) => answer === expected);
  if (asExpected) return [];
  const without = unanswered === 0 ? '' : `, ${unanswered} without an answer ${JSON.stringify(failures)}`;
  return [`${what}: ${JSON.stringify(answers)} instead of ${expected}${without}`];
}
