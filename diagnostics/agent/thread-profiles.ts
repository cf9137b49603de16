// Profiles of the program's worker threads, asked for by the diagnostics thread and taken by each thread of itself: nobody
// can open an inspector session to another thread than the main one. Both ends of a broadcast channel.
import { randomUUID } from 'node:crypto';
import { BroadcastChannel, threadId } from 'node:worker_threads';
import type { HeapProfiler, Profiler } from 'node:inspector';
import { withOwnThread } from './inspector-session.js';
import { cpuProfile, heapProfile, RESULT_TIMEOUT_MS } from './profiles.js';

const CHANNEL = 'stampede.diagnostics.profiles';

export interface Profiles {
  readonly cpu: Profiler.Profile;
  readonly heap: HeapProfiler.SamplingHeapProfile;
}

export interface ProfileRequest<K extends keyof Profiles = keyof Profiles> {
  readonly kind: K;
  readonly seconds: number;
  /** Of the heap: after a full garbage collection. */
  readonly collect: boolean;
}

/** `id`: of the request. A thread that was busy may answer one that nobody waits for any more. */
type Message = { readonly thread: number; readonly id: string } & (
  | { readonly kind: 'take'; readonly request: ProfileRequest }
  /** Whoever asked has gone. */
  | { readonly kind: 'leave' }
  | { readonly kind: 'taken'; readonly profile: Profiles[keyof Profiles] }
  | { readonly kind: 'failed'; readonly reason: string }
);

/** In a worker thread of the program: takes profiles of it when asked. Gives the function that ends it. */
export function offerProfiles(): () => void {
  const channel = new BroadcastChannel(CHANNEL);
  const tell = (message: Message): void => channel.postMessage(message);
  let gone: AbortController | undefined;
  channel.onmessage = ({ data }: { data: Message }) => {
    if (data.thread !== threadId) return;
    if (data.kind === 'leave') gone?.abort();
    if (data.kind !== 'take') return;
    gone?.abort();
    gone = new AbortController();
    const { id } = data;
    take(data.request, gone.signal).then(
      (profile) => tell({ kind: 'taken', thread: threadId, id, profile }),
      (error: unknown) => tell({ kind: 'failed', thread: threadId, id, reason: String(error) }),
    );
  };
  // After `onmessage`, which makes the channel keep the thread alive.
  channel.unref();
  return () => {
    gone?.abort();
    channel.close();
  };
}

async function take({ kind, seconds, collect }: ProfileRequest, gone: AbortSignal): Promise<Profiles[keyof Profiles]> {
  return kind === 'cpu' ? cpuProfile(seconds, gone, withOwnThread) : heapProfile(seconds, collect, gone, withOwnThread);
}

/**
 * In the diagnostics thread: a profile of the thread of that id. One at a time (the gate sees to it). A client that goes away ends it.
 * Rejects when it does, and when the thread has not answered some time after the window: it is busy with one long task, or has ended.
 */
export async function profileOfThread<K extends keyof Profiles>(
  thread: number,
  request: ProfileRequest<K>,
  gone: AbortSignal,
): Promise<Profiles[K]> {
  const channel = new BroadcastChannel(CHANNEL);
  const limitMs = request.seconds * 1_000 + RESULT_TIMEOUT_MS;
  let timer: NodeJS.Timeout | undefined;
  const tell = (message: Message): void => channel.postMessage(message);
  const id = randomUUID();
  const leaving = new AbortController();
  try {
    return await new Promise((resolve, reject) => {
      const leave = (): void => {
        tell({ kind: 'leave', thread, id });
        reject(new Error(`whoever asked for a profile of thread ${thread} has gone`));
      };
      gone.addEventListener('abort', leave, { signal: leaving.signal });
      timer = setTimeout(() => reject(new Error(`thread ${thread} did not answer within ${limitMs} ms`)), limitMs);
      channel.onmessage = ({ data }: { data: Message }) => {
        if (data.id !== id) return;
        if (data.kind === 'failed') reject(new Error(data.reason));
        if (data.kind === 'taken') resolve(data.profile as Profiles[K]);
      };
      if (gone.aborted) leave();
      else tell({ kind: 'take', thread, id, request });
    });
  } finally {
    clearTimeout(timer);
    leaving.abort();
    channel.close();
  }
}
