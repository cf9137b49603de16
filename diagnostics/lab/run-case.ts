// Runs one variant of one case: its server in a process of its own, clients against it, and what the detector said.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { LeakReport, LeakSite } from '../model.js';
import type { CaseName } from './cases.js';
import type { Load } from './load.js';
import { startLoad } from './load.js';
import type { ServerMessage } from './server.js';

/** At the end of the line, or of a comment above it. */
const MARK = 'leaks here';
const STOP_TIMEOUT_MS = 2_000;

export interface RunOptions {
  readonly name: CaseName;
  readonly variant: 'leaking' | 'fixed';
  /** Under load for at most so long. A leak that is found ends it earlier. */
  readonly seconds: number;
  /** The detector's. */
  readonly windowMs: number;
  readonly signal?: AbortSignal;
}

export interface RunResult {
  /** The worst that was ever said. */
  readonly verdict: LeakReport['verdict'];
  /** Seconds under load until it was said first. */
  readonly afterSeconds: number;
  /** The first in the report that said it. */
  readonly worst: LeakSite | undefined;
  /** Whether that is a line with the mark. */
  readonly isMarked: boolean;
}

const RANK = { clean: 0, suspect: 1, leaking: 2 } as const;

/** Rejects when the server's process ends by itself, or the signal aborts. */
export async function runCase({ name, variant, seconds, windowMs, signal }: RunOptions): Promise<RunResult> {
  const script = fileURLToPath(new URL('server.js', import.meta.url));
  const child = fork(script, [name, variant, String(windowMs)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const exited = once(child, 'exit');
  let load: Load | undefined;
  try {
    return await new Promise<RunResult>((resolve, reject) => {
      let result: RunResult = { verdict: 'clean', afterSeconds: 0, worst: undefined, isMarked: false };
      let startedAt = 0;
      child.once('error', reject);
      child.once('exit', () => reject(new Error(`the server of ${name} (${variant}) has ended`)));
      signal?.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
      child.on('message', (message: ServerMessage) => {
        if ('port' in message) {
          load = startLoad(message.port);
          startedAt = performance.now();
          return;
        }
        const { verdict, sites } = message.report;
        const afterSeconds = (performance.now() - startedAt) / 1_000;
        if (RANK[verdict] > RANK[result.verdict]) {
          result = { verdict, afterSeconds, worst: sites[0], isMarked: isMarked(sites[0]) };
        }
        if (afterSeconds >= seconds || (variant === 'leaking' && verdict === 'leaking')) resolve(result);
      });
    });
  } finally {
    load?.stop();
    if (child.connected) child.disconnect();
    const limit = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(limit);
  }
}

/** The line is looked up in the source that the report names: so the mapping back to it is tested too. */
function isMarked(site: LeakSite | undefined): boolean {
  const frame = site?.stack[0];
  if (frame === undefined) return false;
  const [above = '', line = ''] = readFileSync(frame.file, 'utf8')
    .split('\n')
    .slice(frame.line - 2, frame.line);
  return line.endsWith(MARK) || (above.trim().startsWith('//') && above.endsWith(MARK));
}
