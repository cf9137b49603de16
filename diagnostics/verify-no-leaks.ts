// For test suites: fails a test that leaves promises, timers, sockets or listeners behind, and names their lines, as
// goleak does for Go. Needs the recorder, and nothing else; what was live before a test is left alone.
import type { SiteSample } from './model.js';
import { startRecorder } from './recorder/recorder.js';
import { SourceMaps } from './recorder/source-map.js';

/** What is being closed gets so long to end. */
const GRACE_MS = 1_000;
const LOOK_EVERY_MS = 20;
/** So many that none is left out: in a test what it costs does not matter. */
const STACKS_PER_SECOND_MAX = 50_000;

export interface LeakCheck {
  /** In `beforeEach`: what is live now is none of the test's. */
  begin(): void;
  /** In `afterEach`: waits until nothing new is live. Rejects after the grace, naming the lines. */
  end(): Promise<void>;
  /** In `afterAll`. */
  stop(): void;
}

/** Starts recording: before the code under test makes anything. One at a time in a thread. */
export function verifyNoLeaks({ graceMs = GRACE_MS }: { readonly graceMs?: number } = {}): LeakCheck {
  const { setTimeout } = globalThis;
  const recorder = startRecorder({ promiseStacksPerSecondMax: STACKS_PER_SECOND_MAX });
  let before = new Map<string, number>();
  const live = (): SiteSample[] =>
    recorder.snapshot().sites.filter((site) => site.kind !== 'abandoned' && site.stack.length > 0 && isOwnWork(site));
  return {
    begin() {
      before = new Map(live().map(({ siteId, live: count }) => [siteId, count]));
    },
    async end() {
      const isNew = ({ siteId, live: count }: SiteSample): boolean => count > (before.get(siteId) ?? 0);
      // Taken at once: what is made from here on belongs to the asking, not to the test.
      const asked = new Set(
        live()
          .filter(isNew)
          .map(({ siteId }) => siteId),
      );
      const endedAt = performance.now();
      for (;;) {
        const left = live().filter((site) => asked.has(site.siteId) && isNew(site));
        if (left.length === 0) return;
        if (performance.now() - endedAt > graceMs) {
          throw new Error(`the test left behind:\n${new SourceMaps().withSources(left).map(describe).join('\n')}`);
        }
        await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
      }
    },
    stop() {
      recorder.stop();
    },
  };
}

/**
 * Of promises only those that somebody has to settle: async functions and awaits hang on one of them, and the test
 * runner's own are always pending.
 */
function isOwnWork({ kind, details, stack }: SiteSample): boolean {
  if (kind !== 'promise') return true;
  return details.by === 'new Promise' && !stack.every(({ file }) => file.includes('/node_modules/'));
}

function describe({ live, type, stack }: SiteSample): string {
  const places = stack.map(({ functionName, file, line }) => `    at ${functionName} (${file}:${line})`);
  return [`  ${live} ${type}, made`, ...places].join('\n');
}
