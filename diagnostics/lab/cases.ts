// All cases of the leak lab, by name: the name of the file in cases/.
import type { LabCase } from './case.js';

export const CASE_NAMES = [
  'lost-resolver',
  'event-never-comes',
  'race-losers',
  'abandoned-promise',
  'async-executor',
  'missing-error-handler',
  'long-poll',
  'fetch-without-signal',
  'pool-not-released',
  'pool-task',
  'endless-iteration',
  'stalled-stream',
  'forgotten-interval',
  'uncleared-timeout',
  'listener-pile-up',
  'abort-listeners',
  'abort-any',
  'socket-per-request',
  'request-without-end',
  'innocent',
] as const;

export type CaseName = (typeof CASE_NAMES)[number];

export function isCaseName(name: string): name is CaseName {
  return (CASE_NAMES as readonly string[]).includes(name);
}

/** Imports the case's file and nothing of the others: some start servers. */
export async function loadCase(name: CaseName): Promise<LabCase> {
  const { default: found } = (await import(`./cases/${name}.js`)) as { readonly default: LabCase };
  return found;
}
