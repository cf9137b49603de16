// How late this process hears what has come, with a real event loop that is really held up.
import { afterEach, beforeEach, expect, it } from 'vitest';
import { HearingDelay } from '../../../cluster/claims/hearing-delay.js';
import { waitFor } from '../../harness/wait-for.js';
import '../../harness/no-leaks.js';

const HELD_UP_MS = 60;
let hearing: HearingDelay;

beforeEach(() => {
  hearing = new HearingDelay();
});
afterEach(() => {
  hearing.stop();
});

function holdUpTheLoop(): void {
  const until = performance.now() + HELD_UP_MS;
  while (performance.now() < until);
}

it('knows how long the loop did not listen, also while it still does not', async () => {
  expect(hearing.ms).toBe(0);
  hearing.look();
  holdUpTheLoop();
  expect(hearing.ms).toBeGreaterThanOrEqual(HELD_UP_MS);
  await new Promise((resolve) => setTimeout(resolve));
  expect(hearing.ms).toBeGreaterThanOrEqual(HELD_UP_MS);
});

it('forgets it when the loop listens again', async () => {
  hearing.look();
  holdUpTheLoop();
  const hearsAgain = (): boolean => {
    hearing.look();
    return hearing.ms < HELD_UP_MS;
  };
  await waitFor(hearsAgain, { what: 'a look that was heard sooner' });
});
