// Waits for a condition instead of for time.
import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 20;

interface WaitOptions {
  /** Completes the sentence "waited … ms for …". */
  readonly what: string;
  /** Default 20,000: generous, because a slow machine is no failure. */
  readonly timeoutMs?: number;
}

/**
 * Asks again and again until `condition` gives something other than false or undefined, and resolves with that. An
 * error thrown by the condition counts as "not yet". Rejects, with the last error as its cause, when the time is over.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  { what, timeoutMs = 20_000 }: WaitOptions,
): Promise<Exclude<T, false | undefined>> {
  const deadline = Date.now() + timeoutMs;
  let cause: unknown;
  do {
    try {
      const value = await condition();
      if (value !== false && value !== undefined) return value as Exclude<T, false | undefined>;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    await delay(POLL_MS);
  } while (Date.now() < deadline);
  throw new Error(`waited ${timeoutMs} ms for ${what}`, { cause });
}
