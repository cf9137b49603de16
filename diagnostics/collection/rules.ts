// The rules by which evidence is saved while nobody looks, as text:
//
//   leaking: leaks, async; heap>512MiB for 60s: heap; delay>200ms for 10s: stack, profile
//
// A condition is `leaking` (the detector's verdict), `heap>` a size or `delay>` a time (of the event loop); `for` says how
// long it must have held. Pure: reads text, keeps nothing.

/** What can be saved; `snapshot` stops the program for seconds, so it is taken only where a rule asks for it by name. */
export const ACTIONS = ['leaks', 'async', 'stack', 'profile', 'heap', 'trace', 'snapshot'] as const;
export type Action = (typeof ACTIONS)[number];

export interface Rule {
  /** As it was written. */
  readonly text: string;
  readonly when: 'leaking' | 'heap' | 'delay';
  /** Bytes or ms that must be exceeded; 0 for `leaking`. */
  readonly above: number;
  /** ms that the condition must have held. */
  readonly forMs: number;
  readonly actions: readonly Action[];
}

const RULE =
  /^(?:(leaking)|(heap) *> *([\d.]+) *(MiB|GiB)|(delay) *> *([\d.]+) *(ms|s))(?: +for +([\d.]+) *(s|min))? *: *(.+)$/;
const UNITS: Readonly<Record<string, number>> = { MiB: 2 ** 20, GiB: 2 ** 30, ms: 1, s: 1_000, min: 60_000 };
export const RULES_EXAMPLE = 'leaking: leaks, async; heap>512MiB for 60s: heap; delay>200ms for 10s: stack, profile';

/** @throws RangeError with one sentence that quotes what is wrong. */
export function parseRules(text: string): Rule[] {
  return text
    .split(';')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map(parseRule);
}

function parseRule(text: string): Rule {
  const match = RULE.exec(text);
  if (match === null) throw new RangeError(`"${text}" is no rule; rules look like: ${RULES_EXAMPLE}`);
  const [, leaking, , size, sizeUnit, , delay, delayUnit, held, heldUnit, actions = ''] = match;
  const forMs = held === undefined ? 0 : amount(held, heldUnit);
  const parsed = { text, forMs, actions: parseActions(actions) };
  if (leaking !== undefined) return { ...parsed, when: 'leaking', above: 0 };
  return size === undefined
    ? { ...parsed, when: 'delay', above: amount(delay, delayUnit) }
    : { ...parsed, when: 'heap', above: amount(size, sizeUnit) };
}

function amount(number: string | undefined, unit: string | undefined): number {
  const value = Number(number) * (UNITS[unit ?? ''] ?? NaN);
  if (!(value > 0)) throw new RangeError(`"${number ?? ''}" is no number above 0`);
  return value;
}

function parseActions(text: string): Action[] {
  return text.split(',').map((part) => {
    const action = ACTIONS.find((known) => known === part.trim());
    if (action === undefined) throw new RangeError(`"${part.trim()}" is none of ${ACTIONS.join(', ')}`);
    return action;
  });
}
