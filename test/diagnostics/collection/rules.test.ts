// The text of collection rules: what it means, and what is refused with a sentence.
import { describe, expect, it } from 'vitest';
import { startProcessDiagnostics } from '../../../cluster/diagnostics.js';
import { parseRules, RULES_EXAMPLE } from '../../../diagnostics/collection/rules.js';
import { ConfigurationError } from '../../../platform/errors.js';
import { createLog } from '../../../platform/log.js';
import { Metrics } from '../../../platform/metrics/metrics.js';

describe('parseRules', () => {
  it('reads conditions, how long they must hold, and actions', () => {
    expect(parseRules(RULES_EXAMPLE)).toMatchObject([
      { when: 'leaking', above: 0, forMs: 0, actions: ['leaks', 'async'] },
      { when: 'heap', above: 512 * 2 ** 20, forMs: 60_000, actions: ['heap'] },
      { when: 'delay', above: 200, forMs: 10_000, actions: ['stack', 'profile'] },
    ]);
    expect(parseRules(' heap > 1.5 GiB for 2 min : snapshot ; delay>1s: trace;')).toMatchObject([
      { when: 'heap', above: 1.5 * 2 ** 30, forMs: 120_000, actions: ['snapshot'] },
      { when: 'delay', above: 1_000, forMs: 0, actions: ['trace'] },
    ]);
    expect(parseRules('')).toEqual([]);
  });

  it.each([
    'leaking',
    'leaking:',
    'leaking: everything',
    'leaking > 3: leaks',
    'heap>512: heap',
    'heap>0MiB: heap',
    'heap>1.2.3MiB: heap',
    'delay>200MiB: stack',
    'delay<200ms: stack',
    'delay>200ms for 10: stack',
    'delay>200ms for 0s: stack',
    'leaking: leaks, ',
  ])('refuses "%s"', (text) => {
    expect(() => parseRules(text)).toThrow(RangeError);
  });
});

it('a wrong rule ends the start of the service with the name of its variable', () => {
  const log = createLog('test', 'silent');
  const settings = {
    dir: '/nowhere',
    diagnostics: 'on',
    leakWindowMs: 40_000,
    collectionRules: 'leaking: everything',
    collectionsPerHour: 6,
  } as const;
  const metrics = new Metrics({ name: 'primary', role: 'primary', log });
  expect(() => startProcessDiagnostics({ name: 'primary', role: 'primary', settings, metrics, log })).toThrow(
    new ConfigurationError('COLLECT_WHEN: "everything" is none of leaks, async, stack, profile, heap, trace, snapshot'),
  );
});
