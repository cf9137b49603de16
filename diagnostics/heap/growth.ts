// What a heap holds by class, and what grew between two moments, with the path that holds most of what grew. Object ids
// of two snapshots cannot be compared (V8 forgets them when the session between closes), so classes and paths are counted.
import type { HeapGraph } from './snapshot-file.js';

export interface ClassCount {
  readonly name: string;
  readonly count: number;
  /** Bytes of the objects themselves, without what they hold. */
  readonly bytes: number;
}

/** By bytes, the largest first. */
export function classHistogram(graph: HeapGraph): ClassCount[] {
  const classes = new Map<string, { count: number; bytes: number }>();
  for (let node = 0; node < graph.nodeCount; node++) {
    const name = graph.classOf(node);
    const known = classes.get(name);
    const bytes = graph.selfSizes[node] ?? 0;
    if (known === undefined) classes.set(name, { count: 1, bytes });
    else {
      known.count += 1;
      known.bytes += bytes;
    }
  }
  return [...classes].map(([name, counts]) => ({ name, ...counts })).toSorted((a, b) => b.bytes - a.bytes);
}

export interface ClassGrowth {
  readonly name: string;
  /** More of them than before, and more bytes. */
  readonly count: number;
  readonly bytes: number;
  /** How many there are now. */
  readonly now: number;
  /** What holds most of those that came to be, root first: `globalThis.waiting › Map › Promise`; with how many it does. */
  readonly path?: { readonly text: string; readonly count: number };
}

/** Paths are looked up for so many classes. */
const PATHS_MAX = 15;
/** Links of a path that are shown: the ones next to the object. */
const PATH_LINKS_MAX = 10;

/** The classes of which there are more, those that grew most (by bytes) first. */
export function heapGrowth(before: HeapGraph, after: HeapGraph): ClassGrowth[] {
  const old = new Map(classHistogram(before).map((each) => [each.name, each]));
  const grown = classHistogram(after)
    .map(({ name, count, bytes }) => ({
      name,
      count: count - (old.get(name)?.count ?? 0),
      bytes: bytes - (old.get(name)?.bytes ?? 0),
      now: count,
    }))
    .filter(({ count, bytes }) => count > 0 && bytes > 0)
    .toSorted((a, b) => b.bytes - a.bytes);
  const names = new Set(grown.slice(0, PATHS_MAX).map(({ name }) => name));
  const [pathsBefore, pathsAfter] = [pathsOf(before, names), pathsOf(after, names)];
  return grown.map((growth) => {
    const earlier = pathsBefore.get(growth.name);
    const [best] = [...(pathsAfter.get(growth.name) ?? [])]
      .map(([text, count]) => ({ text, count: count - (earlier?.get(text) ?? 0) }))
      .toSorted((a, b) => b.count - a.count);
    return best !== undefined && best.count > 0 ? { ...growth, path: best } : growth;
  });
}

/** By class: how many of its objects are held by which path. */
function pathsOf(graph: HeapGraph, names: ReadonlySet<string>): Map<string, Map<string, number>> {
  const { nodes, edges } = shortestPaths(graph);
  const paths = new Map<string, Map<string, number>>();
  for (let node = 0; node < graph.nodeCount; node++) {
    const name = graph.classOf(node);
    if (!names.has(name) || (node !== 0 && nodes[node] === UNREACHED)) continue;
    const text = pathText(graph, node, nodes, edges);
    const ofClass = paths.get(name) ?? new Map<string, number>();
    ofClass.set(text, (ofClass.get(text) ?? 0) + 1);
    paths.set(name, ofClass);
  }
  return paths;
}

const UNREACHED = 0xffff_ffff;

interface Retainers {
  /** Of each node the one that holds it on a shortest path, and by which edge. */
  readonly nodes: Uint32Array;
  readonly edges: Uint32Array;
}

/** V8's own roots come last: a path through the program's variables says more than one through a handle of the engine. */
function shortestPaths(graph: HeapGraph): Retainers {
  const { nodeCount, firstEdge, edgeTargets } = graph;
  const nodes = new Uint32Array(nodeCount).fill(UNREACHED);
  const edges = new Uint32Array(nodeCount);
  const queue = new Uint32Array(nodeCount);
  let [head, tail] = [0, 1];
  const later: number[] = [];
  nodes[0] = 0;
  const visit = (from: number, edge: number): void => {
    const target = edgeTargets[edge] ?? 0;
    if (nodes[target] !== UNREACHED || graph.isWeak(edge)) return;
    nodes[target] = from;
    edges[target] = edge;
    queue[tail++] = target;
  };
  const walk = (): void => {
    for (; head < tail; head++) {
      const from = queue[head] ?? 0;
      for (let edge = firstEdge[from] ?? 0; edge < (firstEdge[from + 1] ?? 0); edge++) {
        const isEngineRoot = from === 0 && graph.classOf(edgeTargets[edge] ?? 0) === '(GC roots)';
        if (isEngineRoot) later.push(edge);
        else visit(from, edge);
      }
    }
  };
  walk();
  for (const edge of later) visit(0, edge);
  walk();
  return { nodes, edges };
}

function pathText(graph: HeapGraph, node: number, nodes: Uint32Array, edges: Uint32Array): string {
  const links: string[] = [];
  for (let at = node; at !== 0 && links.length < PATH_LINKS_MAX; at = nodes[at] ?? 0) {
    const holder = nodes[at] ?? 0;
    links.push(`${holder === 0 ? '(root)' : graph.classOf(holder)}${graph.edgeLabel(edges[at] ?? 0)}`);
  }
  return [...links.reverse(), graph.classOf(node)].join(' › ');
}
