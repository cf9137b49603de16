// Says what the main thread runs right now. While its loop is blocked: the exact line, by stopping it for an instant.
// While it is not: where a short CPU profile finds it, because a pause asked of an idle loop would stop the next request.
import { readFileSync } from 'node:fs';
import type { Debugger, Profiler } from 'node:inspector';
import type { Session } from 'node:inspector/promises';
import type { Frame } from '../model.js';
import { elapse, inTime, withMainThread } from './inspector-session.js';
import { MainThreadBlocked } from './main-link.js';
import type { MainLink } from './main-link.js';
import { selfMicroseconds } from '../pprof/v8-profiles.js';
import type { SourceMaps } from '../recorder/source-map.js';

/** A loop that answers within this time is not blocked. */
const RESPONSIVE_MS = 150;
/** A loop in JavaScript stops at its next back edge or call: far sooner than this. */
const PAUSE_TIMEOUT_MS = 1_000;
/** How long a responsive main thread is watched, and how often. */
const WATCH_MS = 200;
const WATCH_INTERVAL_US = 500;

/** The built `diagnostics/`. */
const OWN_FOLDER = new URL('..', import.meta.url).href;

export type StackReport =
  /** The loop is blocked in JavaScript, here. `frames` innermost first. */
  | { readonly state: 'blocked'; readonly silentMs: number; readonly frames: readonly Frame[] }
  /** The loop is blocked in native code: no line can be told. `thread` as the kernel sees it: `running`, `sleeping`, … */
  | { readonly state: 'native'; readonly silentMs: number; readonly thread: string; readonly frames: readonly Frame[] }
  /** The loop turns. `busy`: share of the watched time in JavaScript; `frames` the place most often found. */
  | { readonly state: 'running'; readonly busy: number; readonly watchedMs: number; readonly frames: readonly Frame[] }
  | { readonly state: 'idle'; readonly busy: number; readonly watchedMs: number; readonly frames: readonly Frame[] };

export async function captureStack(link: MainLink, maps: SourceMaps, gone: AbortSignal): Promise<StackReport> {
  try {
    await link.ask('gc', RESPONSIVE_MS);
  } catch (error) {
    if (error instanceof MainThreadBlocked) return blockedStack(error.silentMs, maps);
    throw error;
  }
  return watchedStack(maps, gone);
}

async function blockedStack(silentMs: number, maps: SourceMaps): Promise<StackReport> {
  const frames = await withMainThread(async (session) => pausedFrames(session, maps));
  return frames === undefined
    ? { state: 'native', silentMs, thread: kernelState(), frames: [] }
    : { state: 'blocked', silentMs, frames };
}

/** Undefined when the main thread did not stop in time. Nothing stays behind: no pause, no enabled debugger. */
async function pausedFrames(session: Session, maps: SourceMaps): Promise<Frame[] | undefined> {
  let timer: NodeJS.Timeout | undefined;
  // Told of every script when the debugger is enabled, before the pause: frames name scripts by id only.
  const urls = new Map<string, string>();
  session.on('Debugger.scriptParsed', ({ params }) => urls.set(params.scriptId, params.url));
  const stopped = new Promise<Debugger.CallFrame[] | undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), PAUSE_TIMEOUT_MS);
    session.on('Debugger.paused', ({ params }) => {
      // Resume first: what follows may fail, and it must not be the program that pays.
      session.post('Debugger.resume').catch(() => undefined);
      resolve(params.callFrames);
    });
  });
  // Not awaited one by one: in native code none is answered, and `stopped` has the time limit of them all.
  for (const command of ['Debugger.enable', 'Debugger.pause'] as const) session.post(command).catch(() => undefined);
  const callFrames = await stopped;
  clearTimeout(timer);
  // Queued right behind the pause, so that a main thread that comes back from native code drops both together.
  session.post('Debugger.disable').catch(() => undefined);
  return callFrames?.map(({ functionName, location }) =>
    maps.toSource({
      functionName,
      file: urls.get(location.scriptId) ?? '',
      line: location.lineNumber + 1,
      column: (location.columnNumber ?? 0) + 1,
    }),
  );
}

async function watchedStack(maps: SourceMaps, gone: AbortSignal): Promise<StackReport> {
  const profile = await withMainThread(async (session) => {
    await inTime('Profiler.enable', session.post('Profiler.enable'));
    await inTime(
      'Profiler.setSamplingInterval',
      session.post('Profiler.setSamplingInterval', { interval: WATCH_INTERVAL_US }),
    );
    await inTime('Profiler.start', session.post('Profiler.start'));
    await elapse(WATCH_MS, gone);
    return (await inTime('Profiler.stop', session.post('Profiler.stop'))).profile;
  });
  const { share, stack } = hottest(profile);
  const frames = stack.map(({ callFrame: { functionName, url, lineNumber, columnNumber }, line }) =>
    maps.toSource({
      functionName,
      file: url,
      line: line ?? lineNumber + 1,
      column: line === undefined ? columnNumber + 1 : 1,
    }),
  );
  const report = { busy: Math.round(share * 1000) / 1000, watchedMs: WATCH_MS, frames };
  return frames.length === 0 ? { state: 'idle', ...report } : { state: 'running', ...report };
}

interface HotFrame {
  readonly callFrame: Profiler.ProfileNode['callFrame'];
  readonly line: number | undefined;
}

/** The node of the program's own code with most time, with its callers, innermost first. */
function hottest(profile: Profiler.Profile): { share: number; stack: HotFrame[] } {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map(profile.nodes.flatMap(({ id, children }) => (children ?? []).map((child) => [child, id])));
  const own = profile.nodes.filter(({ callFrame }) => callFrame.url !== '' && !callFrame.url.startsWith('node:'));
  // Time, not the number of samples: V8 takes fewer of them while the loop is idle.
  const spent = selfMicroseconds(profile);
  const timeOf = ({ id }: Profiler.ProfileNode): number => spent.get(id) ?? 0;
  const busy = own.reduce((sum, next) => sum + timeOf(next), 0);
  const all = Math.max(1, profile.endTime - profile.startTime);
  let node = own.reduce<Profiler.ProfileNode | undefined>(
    (best, next) => (timeOf(next) > (best === undefined ? 0 : timeOf(best)) ? next : best),
    undefined,
  );
  const stack: HotFrame[] = [];
  const ticks = node?.positionTicks?.toSorted((a, b) => b.ticks - a.ticks) ?? [];
  while (node !== undefined && node.callFrame.functionName !== '(root)') {
    stack.push({ callFrame: node.callFrame, line: stack.length === 0 ? ticks[0]?.line : undefined });
    node = nodes.get(parents.get(node.id) ?? -1);
  }
  // What the recorder does counts for the code that it watches.
  while (stack[0]?.callFrame.url.startsWith(OWN_FOLDER) === true) stack.shift();
  return { share: Math.min(1, busy / all), stack };
}

const KERNEL_STATES: Readonly<Record<string, string>> = {
  R: 'running',
  S: 'sleeping',
  D: 'waiting for a device',
  T: 'stopped',
};

/** What Linux says of the main thread, whose thread id is the process id; elsewhere `unknown`. */
function kernelState(): string {
  try {
    const stat = readFileSync(`/proc/self/task/${process.pid}/stat`, 'utf8');
    // The name before it may hold spaces and parentheses: the state follows the last one.
    return KERNEL_STATES[stat.charAt(stat.lastIndexOf(')') + 2)] ?? 'unknown';
  } catch {
    return 'unknown';
  }
}
