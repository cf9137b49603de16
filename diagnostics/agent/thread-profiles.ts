// Profiles of the program's worker threads, asked for by the diagnostics thread and taken by each thread of itself: nobody
// can open an inspector session to another thread than the main one. Both ends of a broadcast channel.
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

type Message =
  | { readonly kind: 'take'; readonly thread: number; readonly request: ProfileRequest }
  /** Whoever asked has gone. */
  | { readonly kind: 'leave'; readonly thread: number }
  | { readonly kind: 'taken'; readonly thread: number; readonly profile: Profiles[keyof Profiles] }
  | { readonly kind: 'failed'; readonly thread: number; readonly reason: string };

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
    take(data.request, gone.signal).then(
      (profile) => tell({ kind: 'taken', thread: threadId, profile }),
      (error: unknown) => tell({ kind: 'failed', thread: threadId, reason: String(error) }),
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
 * Rejects when the thread has not answered some time after the window: it is busy with one long task, or has ended.
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
  const leave = (): void => tell({ kind: 'leave', thread });
  gone.addEventListener('abort', leave);
  try {
    return await new Promise((resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`thread ${thread} did not answer within ${limitMs} ms`)), limitMs);
      channel.onmessage = ({ data }: { data: Message }) => {
        if (data.thread !== thread) return;
        if (data.kind === 'failed') reject(new Error(data.reason));
        if (data.kind === 'taken') resolve(data.profile as Profiles[K]);
      };
      tell({ kind: 'take', thread, request });
    });
  } finally {
    clearTimeout(timer);
    gone.removeEventListener('abort', leave);
    channel.close();
  }
}
