// Turns what V8 measures (CPU profile, sampling heap profile) into pprof, with the lines a person wrote.
import type { HeapProfiler, Profiler, Runtime } from 'node:inspector';
import type { Frame } from '../model.js';
import { ProfileBuilder } from './profile-builder.js';
import type { PprofFrame } from './profile-builder.js';

const NANOSECONDS_PER_MICROSECOND = 1_000;
const MICROSECONDS_PER_MS = 1_000;

/** Maps a place in code that runs to the place in code that was written (the recorder's `SourceMaps`). */
export interface Locator {
  toSource(frame: Frame): Frame;
}

/** Not time on a CPU: left out, so that the total is what the thread has really used. */
const NO_CPU = new Set(['(idle)', '(root)']);

/** CPU nanoseconds per stack; a leaf is split by the lines its samples fell on. */
export async function cpuToPprof(profile: Profiler.Profile, locator: Locator): Promise<Buffer> {
  const durationMs = (profile.endTime - profile.startTime) / MICROSECONDS_PER_MS;
  const builder = new ProfileBuilder({ type: 'cpu', unit: 'nanoseconds', at: Date.now() - durationMs, durationMs });
  const spent = selfMicroseconds(profile);
  const tree = new Tree(profile.nodes, locator);
  for (const node of profile.nodes) {
    const microseconds = spent.get(node.id) ?? 0;
    if (microseconds <= 0 || NO_CPU.has(node.callFrame.functionName)) continue;
    const [leaf, ...callers] = tree.stack(node.id);
    if (leaf === undefined) continue;
    const ticks = node.positionTicks ?? [];
    const all = ticks.reduce((sum, tick) => sum + tick.ticks, 0);
    if (all === 0) builder.add([leaf, ...callers], microseconds * NANOSECONDS_PER_MICROSECOND);
    for (const tick of ticks) {
      const { line } = locator.toSource({ ...leaf, file: node.callFrame.url, line: tick.line, column: 1 });
      const nanoseconds = (microseconds * NANOSECONDS_PER_MICROSECOND * tick.ticks) / all;
      builder.add([{ ...leaf, line }, ...callers], nanoseconds);
    }
  }
  return builder.encode();
}

/** Living bytes per allocating stack, as sampled. */
export async function heapToPprof(
  profile: HeapProfiler.SamplingHeapProfile,
  locator: Locator,
  periodBytes: number,
): Promise<Buffer> {
  const builder = new ProfileBuilder({ type: 'inuse_space', unit: 'bytes', at: Date.now(), period: periodBytes });
  const visit = (node: HeapProfiler.SamplingHeapProfileNode, callers: readonly PprofFrame[]): void => {
    const stack = node.callFrame.functionName === '(root)' ? callers : [frameOf(node.callFrame, locator), ...callers];
    if (node.selfSize > 0) builder.add(stack, node.selfSize);
    for (const child of node.children) visit(child, stack);
  };
  visit(profile.head, []);
  return builder.encode();
}

/** Self time per node id, µs. The time of a sample counts for the node seen at its beginning. */
export function selfMicroseconds(profile: Profiler.Profile): Map<number, number> {
  const spent = new Map<number, number>();
  const deltas = profile.timeDeltas ?? [];
  for (const [index, id] of (profile.samples ?? []).entries()) {
    // Deltas lead to a sample; what follows it lasts until the next one. Negative ones occur (clocks) and count as none.
    const microseconds = Math.max(0, deltas[index + 1] ?? 0);
    spent.set(id, (spent.get(id) ?? 0) + microseconds);
  }
  return spent;
}

class Tree {
  readonly #nodes: Map<number, Profiler.ProfileNode>;
  readonly #parents: Map<number, number>;
  readonly #frames = new Map<number, PprofFrame>();
  readonly #locator: Locator;

  constructor(nodes: readonly Profiler.ProfileNode[], locator: Locator) {
    this.#nodes = new Map(nodes.map((node) => [node.id, node]));
    this.#parents = new Map(nodes.flatMap(({ id, children }) => (children ?? []).map((child) => [child, id])));
    this.#locator = locator;
  }

  /** Innermost first, without the root. */
  stack(leafId: number): PprofFrame[] {
    const stack: PprofFrame[] = [];
    for (let id: number | undefined = leafId; id !== undefined; id = this.#parents.get(id)) {
      const node = this.#nodes.get(id);
      if (node === undefined || node.callFrame.functionName === '(root)') break;
      const frame = this.#frames.get(id) ?? frameOf(node.callFrame, this.#locator);
      this.#frames.set(id, frame);
      stack.push(frame);
    }
    return stack;
  }
}

/** V8 counts lines from 0 here, and gives the line where the function begins. */
function frameOf({ url, functionName, lineNumber, columnNumber }: Runtime.CallFrame, locator: Locator): PprofFrame {
  const { file, line } = locator.toSource({ functionName, file: url, line: lineNumber + 1, column: columnNumber + 1 });
  return { functionName, file: file === '' ? '(native)' : file, line: Math.max(0, line), startLine: Math.max(0, line) };
}
