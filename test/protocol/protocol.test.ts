// The protocol of docs/protocol.md in a model: many schedules, none of which may break an invariant, and for each rule a
// search that must break one without it.
//
// PROTOCOL_SCHEDULES=300000 searches longer, PROTOCOL_SEED=17 from that seed on; with PROTOCOL_SCHEDULES=1 the trace of
// that one schedule is printed.
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { Rule } from './rules.js';
import { RULES } from './rules.js';
import { runSchedule, search, tell } from './search.js';
import type { Story } from './stories.js';

const SCHEDULES = Number(process.env['PROTOCOL_SCHEDULES'] ?? 8_000);
const SEED = Number(process.env['PROTOCOL_SEED'] ?? 1);
/** How many schedules a broken rule has to be found in. */
const BROKEN_SCHEDULES_MAX = 6_000;
const TIMEOUT_MS = 60_000 + SCHEDULES * 10;

/** Rules that only a long course of events needs: their search tells that story. */
const STORY_OF: Partial<Record<Rule, Story>> = {
  "ledger's epoch": 'the ledger has in its hands what Redis forgot',
  'own entries only': 'a ledger is back at the old master',
  'order of replies': 'answers overtake one another',
  'pending increase counts': 'Redis had an increase that MySQL does not know',
  'range made anew': 'a rebuild withholds, and the next one knows of a decrease',
  'gathered once': 'a rebuild begins on one node and again on the other',
  'old entries only in ranges': 'what the old master has was released',
  'release overtakes': 'what is withheld is given up while the shard is rebuilt',
  'range of the same epoch': 'the number of the old master was told to somebody else, and lost',
  'newest first': 'a worker comes late, and its user has another number',
  'lease taken whole': 'a rebuild is begun from what was seen long ago',
  'token of the load': 'a rebuild sleeps while it loads',
  'epoch of a change': 'workers and operators stay with the old master',
  "settlement's epoch": 'a change is settled while a rebuild decides',
};

it(
  'keeps its promises in every schedule',
  () => {
    if (SCHEDULES === 1) console.log(tell(runSchedule(SEED)));
    const found = search(SEED, SCHEDULES);
    if (found.failed) expect.fail(tell(found.failed));
    // A search in which nothing happens would find nothing.
    expect(found.steps / found.schedules).toBeGreaterThan(100);
    if (SCHEDULES >= 1_000) expect(found.losses).toBeGreaterThan(0);
  },
  TIMEOUT_MS,
);

it('runs the same schedule again from its seed', () => {
  expect(runSchedule(7, { traced: true })).toEqual(runSchedule(7, { traced: true }));
});

it.each(Object.keys(RULES) as Rule[])('breaks without the rule: %s', (broken) => {
  const { failed } = search(1, BROKEN_SCHEDULES_MAX, { broken, story: STORY_OF[broken] });
  expect(failed?.violation).toMatch(/^I\d: |^change|operator/);
});

it('has every rule explained', () => {
  const page = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8');
  for (const rule of Object.keys(RULES)) expect(page).toContain(`**${rule}**`);
});
