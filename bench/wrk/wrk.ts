// wrk, a load generator in C (Debian's package of it), as a second opinion on the benchmark's own. It cannot stop after a number of
// requests: it is bound by time, and what is under way at its end is never answered. Loopback only.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { thisMachine } from '../../platform/embedded/executables.js';
import { provideProgram } from '../../platform/embedded/provide-program.js';
import type { StartContext } from '../../platform/embedded/server-process.js';
import { packagePath } from '../../platform/package-root.js';
import type { LoadJob, LoadResult, LoadSource } from '../load-job.js';

/** Beyond the seconds that it is told to run. */
const END_TIMEOUT_MS = 60_000;
/** As the benchmark's own generator waits for an answer. */
const REQUEST_TIMEOUT_S = 40;
const SCRIPT = packagePath('bench', 'wrk', 'claims.lua');

/** What claims.lua prints. */
interface Told {
  readonly answers: Readonly<Record<string, number>>;
  readonly unanswered: number;
  readonly durationMicros: number;
  readonly p50Micros: number;
  readonly p99Micros: number;
}

/** Where it is; installed where it is missing and this process may. Throws `ConfigurationError` with the command to run. */
export async function provideWrk(context: Pick<StartContext, 'report' | 'signal'>): Promise<string> {
  return await provideProgram({ ...context, names: ['wrk'], debianPackage: 'wrk', machine: thisMachine() });
}

export class Wrk implements LoadSource {
  readonly #path: string;
  readonly #seconds: number;
  readonly #signal: AbortSignal;
  #job: LoadJob | undefined;

  constructor(path: string, seconds: number, signal: AbortSignal) {
    this.#path = path;
    this.#seconds = seconds;
    this.#signal = signal;
  }

  /** Of the job, how many requests it has is what wrk cannot be told; single claims of one coupon only. Opens nothing yet. */
  connect(job: LoadJob): Promise<void> {
    this.#job = job;
    return Promise.resolve();
  }

  async go(): Promise<LoadResult> {
    if (this.#job === undefined) throw new Error('wrk has no job');
    const child = spawn(this.#path, argumentsOf(this.#job, this.#seconds), {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: this.#seconds * 1_000 + END_TIMEOUT_MS,
      signal: this.#signal,
    });
    const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
    const line = output.trimEnd().split('\n').at(-1) ?? '';
    if (child.exitCode !== 0 || !line.startsWith('{')) throw new Error(`wrk failed: ${errors.trim() || output.trim()}`);
    const { answers, unanswered, durationMicros, p50Micros, p99Micros } = JSON.parse(line) as Told;
    return {
      answers,
      unanswered,
      failures: {},
      durationMs: durationMicros / 1_000,
      latencyMs: { p50: p50Micros / 1_000, p99: p99Micros / 1_000 },
    };
  }
}

function argumentsOf({ url, couponId, identity, userPrefix, connections }: LoadJob, seconds: number): string[] {
  const token = identity !== undefined && 'gatewayToken' in identity ? identity.gatewayToken : undefined;
  return [
    ...['--threads', '1', '--connections', String(connections), '--duration', `${seconds}s`],
    ...['--timeout', `${REQUEST_TIMEOUT_S}s`, '--script', SCRIPT],
    // For everybody on this machine to see: a token of this measurement's own.
    ...(token === undefined ? [] : ['--header', `X-Gateway-Token: ${token}`]),
    ...[`${url}/v1/coupons/${couponId}/claims`, '--', userPrefix],
  ];
}
