// Waiting between attempts: exponential, with jitter, interruptible.
import { setTimeout as sleep } from 'node:timers/promises';

const DELAY_MS_MIN = 50;
const DELAY_MS_MAX = 2_000;

/** Waits before attempt `attempt` + 1 (1 = after the first failure); returns early when `signal` aborts. */
export async function backoff(attempt: number, signal: AbortSignal): Promise<void> {
  const limit = Math.min(DELAY_MS_MIN * 2 ** Math.min(attempt, 10), DELAY_MS_MAX);
  await pause(limit / 2 + (Math.random() * limit) / 2, signal);
}

/** Waits `ms`, or less when `signal` aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}
