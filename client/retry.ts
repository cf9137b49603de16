// When to ask again. Every request of this client may be repeated: a claim that was granted gives its receipt, a claim that
// was given back is not given back twice. What is not repeated is what would only be refused again.
//
// Between two attempts lies what the service asks for (Retry-After), at least a growing pause of the client's own, and a
// random part on top, so that a crowd that was refused together does not come back together.
import { StampedeClientError } from './errors.js';

export interface RetryLimits {
  /** Attempts of one call, the first included. */
  readonly attemptsMax: number;
  /** Milliseconds that one attempt may take. */
  readonly attemptTimeoutMs: number;
  /** Milliseconds that the whole call may take, pauses included. */
  readonly timeoutMs: number;
}

/** What came of one attempt: an answer for good, or why to ask again. */
export type Attempt<T> =
  { readonly done: T } | { readonly error: StampedeClientError; readonly retryAfterMs: number | undefined };

const PAUSE_FIRST_MS = 100;
const PAUSE_MAX_MS = 5_000;
/** Of a pause, added at random. */
const JITTER = 0.25;

/**
 * Attempts until there is an answer. `attempt` gets a signal that ends it. Rejects with the last error when attempts or time
 * are used up, at once when the pause would outlast the time; with the signal's reason when the caller gives up.
 */
export async function withRetries<T>(
  attempt: (signal: AbortSignal) => Promise<Attempt<T>>,
  limits: RetryLimits,
  signal: AbortSignal | undefined,
): Promise<T> {
  const deadline = performance.now() + limits.timeoutMs;
  let mayBeGranted = false;
  for (let number = 1; ; number++) {
    signal?.throwIfAborted();
    const limitMs = Math.min(limits.attemptTimeoutMs, deadline - performance.now());
    const outcome = await limited(attempt, limitMs, signal);
    if ('done' in outcome) return outcome.done;
    const { error, retryAfterMs } = outcome;
    // One attempt whose end is unknown makes the whole call so, whatever the next ones say.
    mayBeGranted ||= error.mayBeGranted;
    const pauseMs = pauseOf(number, retryAfterMs);
    if (number >= limits.attemptsMax || performance.now() + pauseMs >= deadline) throw withDoubt(error, mayBeGranted);
    await pause(pauseMs, signal);
  }
}

function pauseOf(number: number, retryAfterMs = 0): number {
  const ms = Math.max(retryAfterMs, Math.min(PAUSE_MAX_MS, PAUSE_FIRST_MS * 2 ** (number - 1)));
  return ms * (1 + Math.random() * JITTER);
}

function withDoubt(error: StampedeClientError, mayBeGranted: boolean): StampedeClientError {
  if (error.mayBeGranted === mayBeGranted) return error;
  const { code, message, status, requestId } = error;
  return new StampedeClientError(code, message, { status, requestId, mayBeGranted, cause: error });
}

/** One attempt with an end: by its own time limit, or by the caller's signal. Nothing is left on the signal afterwards. */
async function limited<T>(
  attempt: (signal: AbortSignal) => Promise<Attempt<T>>,
  limitMs: number,
  signal: AbortSignal | undefined,
): Promise<Attempt<T>> {
  const controller = new AbortController();
  const giveUp = (): void => controller.abort(signal?.reason);
  signal?.addEventListener('abort', giveUp, { once: true });
  // Whether a request arrived before its connection broke or its time was over, nobody can tell.
  const late = new StampedeClientError('timeout', `There was no answer within ${Math.round(limitMs)} ms.`, {
    mayBeGranted: true,
  });
  const timer = setTimeout(() => controller.abort(late), limitMs);
  try {
    return await attempt(controller.signal);
  } catch (error) {
    signal?.throwIfAborted();
    if (controller.signal.aborted) return { error: late, retryAfterMs: undefined };
    if (error instanceof StampedeClientError) throw error;
    const message = 'The service could not be reached, or the connection broke.';
    const broken = new StampedeClientError('network', message, { mayBeGranted: true, cause: error });
    return { error: broken, retryAfterMs: undefined };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', giveUp);
  }
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const giveUp = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', giveUp);
      resolve();
    }, ms);
    signal?.addEventListener('abort', giveUp, { once: true });
  });
}

/** Milliseconds that a `Retry-After` asks for, in seconds or as a date; undefined when it asks for nothing. */
export function retryAfterMs(header: string | null): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}
