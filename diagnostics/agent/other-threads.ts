// Worker threads of the program (a Piscina pool, say) have recorders of their own, because hooks are per thread. They meet
// the diagnostics thread on a broadcast channel: it asks all, each answers for itself. A thread that is busy or gone is
// not waited for longer than a fixed time.
import { BroadcastChannel, threadId } from 'node:worker_threads';
import { getHeapStatistics } from 'node:v8';
import type { RecorderSnapshot } from '../model.js';
import type { Recorder } from '../recorder/recorder.js';
import { readHandles } from './handles.js';
import type { HandleReport, ThreadHeap, ThreadReport } from './messages.js';
import { offerProfiles } from './thread-profiles.js';

const CHANNEL = 'stampede.diagnostics';
/** A thread in the middle of a task answers after it: with the next round then. */
const ANSWER_TIMEOUT_MS = 250;
/** A thread that has ended says nothing: its resources went with it. */
const FORGOTTEN_AFTER_MS = 30_000;

/** What one thread says of itself. */
interface ThreadState {
  readonly snapshot: RecorderSnapshot;
  readonly handles: HandleReport;
  readonly heap: ThreadHeap;
}

type Message =
  | { readonly kind: 'ask' }
  | { readonly kind: 'answer'; readonly threadId: number; readonly state: ThreadState | undefined };

/** In a worker thread of the program: answers for its recorder, and offers profiles. Gives the function that ends it. */
export function joinThreads(recorder: Recorder): () => void {
  const channel = new BroadcastChannel(CHANNEL);
  const answer = (state: ThreadState | undefined): void => {
    channel.postMessage({ kind: 'answer', threadId, state } satisfies Message);
  };
  channel.onmessage = ({ data }: { data: Message }) => {
    if (data.kind === 'ask') answer(stateOf(recorder));
  };
  // After `onmessage`, which makes the channel keep the thread alive.
  channel.unref();
  // Says that it is there.
  answer(undefined);
  const withdraw = offerProfiles();
  return () => {
    withdraw();
    channel.close();
  };
}

function stateOf(recorder: Recorder): ThreadState {
  const { used_heap_size: used, total_heap_size: total, heap_size_limit: limit } = getHeapStatistics();
  return { snapshot: recorder.snapshot(), handles: readHandles(), heap: { used, total, limit } };
}

interface Heard {
  /** Epoch ms. */
  readonly at: number;
  readonly state: ThreadState | undefined;
}

/** In the diagnostics thread: what the program's other threads hold. */
export class OtherThreads {
  readonly #channel = new BroadcastChannel(CHANNEL);
  readonly #heard = new Map<number, Heard>();
  #round: { readonly missing: Set<number>; readonly done: Promise<void>; readonly settle: () => void } | undefined;

  constructor() {
    this.#channel.onmessage = ({ data }: { data: Message }) => {
      if (data.kind !== 'answer') return;
      this.#heard.set(data.threadId, { at: Date.now(), state: data.state });
      this.#round?.missing.delete(data.threadId);
      if (this.#round?.missing.size === 0) this.#round.settle();
    };
    // Whoever began before this thread did says again that it is there.
    this.#channel.postMessage({ kind: 'ask' } satisfies Message);
  }

  close(): void {
    this.#channel.close();
  }

  /**
   * By thread id. A thread that does not answer in time counts with what it last said, so that a busy one does not look
   * like one whose resources went away; after `FORGOTTEN_AFTER_MS` of silence it is forgotten.
   */
  async snapshots(): Promise<ReadonlyMap<number, RecorderSnapshot>> {
    return new Map([...(await this.#states())].map(([id, { snapshot }]) => [id, snapshot]));
  }

  /** What is open in each thread, and its heap, in the same way. */
  async reports(): Promise<ThreadReport[]> {
    return [...(await this.#states())].map(([thread, { handles, heap }]) => ({ thread, heap, ...handles }));
  }

  async #states(): Promise<ReadonlyMap<number, ThreadState>> {
    if (this.#heard.size > 0) await (this.#round?.done ?? this.#ask());
    const known = new Map<number, ThreadState>();
    for (const [id, { at, state }] of this.#heard) {
      if (Date.now() - at > FORGOTTEN_AFTER_MS) this.#heard.delete(id);
      else if (state !== undefined) known.set(id, state);
    }
    return known;
  }

  async #ask(): Promise<void> {
    let settle: () => void = () => undefined;
    const done = new Promise<void>((resolve) => (settle = resolve));
    const timer = setTimeout(settle, ANSWER_TIMEOUT_MS);
    this.#round = { missing: new Set(this.#heard.keys()), done, settle };
    this.#channel.postMessage({ kind: 'ask' } satisfies Message);
    await done;
    clearTimeout(timer);
    this.#round = undefined;
  }
}
