// Whether a run says what the one before it said: the same verdict on every target. Pure.
import type { BenchRun, RunBefore } from '../run.js';
import type { Verdict } from './verdicts.js';
import { verdictsOf } from './verdicts.js';

/** What is kept of a run beside the next one; judged by the bounds of today. */
export function summaryOf(run: Pick<BenchRun, 'startedAt' | 'machine' | 'parts'>): RunBefore {
  const verdicts: RunBefore['verdicts'] = Object.fromEntries(
    verdictsOf(run).map(({ name, value, verdict }) => [name, { median: value?.median, verdict }] as const),
  );
  return { startedAt: run.startedAt, commit: run.machine.commit, verdicts };
}

/** Empty where one of the two judged nothing. */
export function sameVerdict({ name, value, verdict }: Verdict, before: RunBefore): 'yes' | 'no' | '' {
  const then = before.verdicts[name];
  if (value === undefined || typeof then?.median !== 'number') return '';
  return then.verdict === verdict ? 'yes' : 'no';
}

/** One sentence. */
export function repeatOf(verdicts: readonly Verdict[], before: RunBefore): string {
  const same = verdicts.map((verdict) => sameVerdict(verdict, before)).filter((one) => one !== '');
  const count = same.filter((one) => one === 'yes').length;
  return `The run before (${runText(before)}) gave the same verdict on ${count} of ${same.length} targets that both have measured.`;
}

/** A sentence for each target of which one run says something else than the other. */
export function differencesOf(run: Pick<BenchRun, 'parts'>, other: RunBefore): string[] {
  return verdictsOf(run).flatMap(({ name, what, unit, value, verdict }) => {
    const { median, verdict: then = 'not measured' } = other.verdicts[name] ?? {};
    if (then === verdict) return [];
    const told = (said: string, figure: number | null | undefined): string =>
      typeof figure === 'number' ? `${said} with ${Number(figure.toPrecision(3))} ${unit}`.trim() : said;
    return [`${what}: ${told(verdict, value?.median)}, and ${told(then, median)} in the other run`];
  });
}

function runText({ startedAt, commit }: Pick<RunBefore, 'startedAt' | 'commit'>): string {
  return `${startedAt.slice(0, 10)} at commit ${commit}`;
}
