// Runs parts of the benchmark one after the other and gathers what they found. A part that fails stops no other. Prints
// nothing and writes no file.
import { messageOf } from '../platform/errors.js';
import { machineTime, ownCpuMicros } from './cpu.js';
import type { Machine } from './machine.js';
import type { Finding, Part, PartContext, PartResult } from './part.js';
import { isSpread } from './statistics.js';

export interface PartRun {
  readonly name: string;
  readonly durationMs: number;
  /** Share of the machine that others used meanwhile: other programs, the kernel's own work, the host. 0 to 1. */
  readonly foreignCpuShare: number;
  /** Undefined when the part threw. */
  readonly result?: PartResult;
  /** Sentences; with any of them the part's findings count for nothing. */
  readonly problems: readonly string[];
}

/** What may be shown of it and held against targets: nothing where it has a problem. Whoever shows a run asks this. */
export function soundResultOf({ result, problems }: PartRun): PartResult | undefined {
  return problems.length === 0 ? result : undefined;
}

/** Everything that is measured, as `--json` prints it. */
export interface BenchRun {
  /** ISO 8601. */
  readonly startedAt: string;
  readonly durationMs: number;
  readonly scale: PartContext['scale'];
  readonly rounds: number;
  readonly machine: Machine;
  /** Of one minute, before and after. */
  readonly loadAverage: readonly [number, number];
  readonly parts: readonly PartRun[];
  /** What was saved in the same place before it. */
  readonly before?: RunBefore;
}

/** What a run said of the targets. */
export interface RunBefore {
  /** ISO 8601. */
  readonly startedAt: string;
  readonly commit: string;
  /** By the names of targets; read again from JSON, a median that there is not is missing. */
  readonly verdicts: Readonly<Record<string, { readonly median?: number | undefined; readonly verdict: string }>>;
}

/** Rejects only when the context's signal ends it. */
export async function runParts(parts: readonly Part[], context: PartContext): Promise<PartRun[]> {
  const runs: PartRun[] = [];
  for (const [index, part] of parts.entries()) {
    const startedAt = performance.now();
    const report = (step: string): void => {
      const elapsedMinutes = (performance.now() - startedAt) / 60_000;
      const left = context.scale === 'full' ? `, ${leftText(parts.slice(index), elapsedMinutes)}` : '';
      context.report(`[${index + 1} of ${parts.length}${left}] ${part.name}: ${step}`);
    };
    runs.push(await runPart(part, { ...context, report }));
    context.signal.throwIfAborted();
  }
  return runs;
}

async function runPart(part: Part, context: PartContext): Promise<PartRun> {
  const startedAt = performance.now();
  const before = { ours: ownCpuMicros(), ...machineTime() };
  const outcome = await part.measure(context).then(
    (result) => ({ result, problems: [...result.problems, ...result.findings.flatMap(complaintOf)] }),
    (error: unknown) => ({ problems: [messageOf(error)] }),
  );
  const after = { ours: ownCpuMicros(), ...machineTime() };
  const foreign = after.busy - before.busy - (after.ours - before.ours);
  // A part that failed at once took no tick.
  const total = Math.max(1, after.total - before.total);
  return {
    name: part.name,
    durationMs: performance.now() - startedAt,
    foreignCpuShare: Math.max(0, foreign / total),
    ...outcome,
  };
}

/** JSON has no NaN: such a figure would be null in the raw data, and null is less than every bound. */
function complaintOf({ target, value }: Finding): string[] {
  return isSpread(value) ? [] : [`what it found for ${target} is no number: ${JSON.stringify(value)}`];
}

function leftText([current, ...later]: readonly Part[], elapsedMinutes: number): string {
  const ofCurrent = Math.max(0, (current?.minutes ?? 0) - elapsedMinutes);
  const minutes = later.reduce((sum, part) => sum + part.minutes, ofCurrent);
  return minutes < 1 ? 'less than a minute left' : `about ${Math.ceil(minutes)} min left`;
}
