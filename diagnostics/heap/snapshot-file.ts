// Reads a `.heapsnapshot` file as a stream into typed arrays: the JSON of a large heap is longer than a string of V8 may
// be. Runs wherever the file is (a developer's machine, a child process), never in the process that the snapshot is of.
import { createReadStream } from 'node:fs';

/** Node types of which the name says what they are; of others the type does. */
const NO_NAME = { string: '(string)', 'concatenated string': '(string)', 'sliced string': '(string)' } as const;
const CLOSING_BRACKET = 93;
const DIGIT_0 = 48;
const DIGIT_9 = 57;

/** Nodes and edges by index. */
export interface HeapGraph {
  readonly nodeCount: number;
  /** Bytes of the node itself. */
  readonly selfSizes: Uint32Array;
  /** The edges of node n are those from `firstEdge[n]` up to `firstEdge[n + 1]`. */
  readonly firstEdge: Uint32Array;
  readonly edgeTargets: Uint32Array;
  /** Constructor of an object, else the kind in parentheses. */
  classOf(node: number): string;
  /** As a person would write the access: `.name`, `[]` for an element, `(internal)`. */
  edgeLabel(edge: number): string;
  isWeak(edge: number): boolean;
}

interface Meta {
  readonly node_fields: readonly string[];
  readonly node_types: readonly [readonly string[], ...unknown[]];
  readonly edge_fields: readonly string[];
  readonly edge_types: readonly [readonly string[], ...unknown[]];
}
interface Header {
  readonly snapshot: { readonly meta: Meta; readonly node_count: number; readonly edge_count: number };
}

/** @throws Error when the file is no complete heap snapshot. */
export async function readHeapSnapshot(file: string): Promise<HeapGraph> {
  const reader = new SectionReader(file);
  try {
    const header = JSON.parse(`${(await reader.textUntil('"nodes":[')).trimEnd().replace(/,$/, '')}}`) as Header;
    const { meta, node_count: nodeCount, edge_count: edgeCount } = header.snapshot;
    const nodes = await reader.numbers(nodeCount * meta.node_fields.length);
    await reader.textUntil('"edges":[');
    const edges = await reader.numbers(edgeCount * meta.edge_fields.length);
    await reader.textUntil('"strings":[');
    const strings = JSON.parse(`[${(await reader.rest()).replace(/\}\s*$/, '')}`) as string[];
    return graphOf(meta, nodeCount, nodes, edges, strings);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${file} is no complete heap snapshot: ${reason}`, { cause: error });
  } finally {
    await reader.close();
  }
}

function graphOf(
  meta: Meta,
  nodeCount: number,
  nodes: Uint32Array,
  edges: Uint32Array,
  strings: readonly string[],
): HeapGraph {
  const nodeFields = meta.node_fields.length;
  const edgeFields = meta.edge_fields.length;
  const nodeAt = (name: string): number => fieldIndex(meta.node_fields, name);
  const edgeAt = (name: string): number => fieldIndex(meta.edge_fields, name);
  const [typeField, nameField, sizeField, countField] = ['type', 'name', 'self_size', 'edge_count'].map(nodeAt) as [
    number,
    number,
    number,
    number,
  ];
  const [edgeType, edgeName, edgeTarget] = ['type', 'name_or_index', 'to_node'].map(edgeAt) as [number, number, number];
  const edgeCount = edges.length / edgeFields;
  const selfSizes = new Uint32Array(nodeCount);
  const firstEdge = new Uint32Array(nodeCount + 1);
  for (let node = 0; node < nodeCount; node++) {
    const at = node * nodeFields;
    selfSizes[node] = nodes[at + sizeField] ?? 0;
    firstEdge[node + 1] = (firstEdge[node] ?? 0) + (nodes[at + countField] ?? 0);
  }
  const edgeTargets = new Uint32Array(edgeCount);
  for (let edge = 0; edge < edgeCount; edge++) {
    edgeTargets[edge] = (edges[edge * edgeFields + edgeTarget] ?? 0) / nodeFields;
  }
  const text = (index: number | undefined): string => strings[index ?? -1] ?? '';
  const typeOf = (edge: number): string => meta.edge_types[0][edges[edge * edgeFields + edgeType] ?? 0] ?? '';
  return {
    nodeCount,
    selfSizes,
    firstEdge,
    edgeTargets,
    classOf(node) {
      const at = node * nodeFields;
      const type = meta.node_types[0][nodes[at + typeField] ?? 0] ?? '';
      if (type in NO_NAME) return NO_NAME[type as keyof typeof NO_NAME];
      const name = text(nodes[at + nameField]);
      if (type === 'object' || type === 'synthetic' || type === 'native') return name === '' ? `(${type})` : name;
      return type === 'closure' ? `${name === '' ? 'anonymous' : name}()` : `(${type})`;
    },
    edgeLabel(edge) {
      const type = typeOf(edge);
      if (type === 'element') return '[]';
      if (type === 'hidden') return '(hidden)';
      const name = text(edges[edge * edgeFields + edgeName]);
      // Places in tables of the engine: thousands of paths that are one.
      if (/^\d+$/.test(name)) return '[]';
      if (type === 'internal') return `(${name})`;
      return type === 'context' ? `.${name} (variable)` : `.${name}`;
    },
    isWeak: (edge) => typeOf(edge) === 'weak',
  };
}

function fieldIndex(fields: readonly string[], name: string): number {
  const index = fields.indexOf(name);
  if (index === -1) throw new Error(`it has no field ${name}`);
  return index;
}

/** Reads a file section by section: text up to a mark, then numbers up to a bracket, then the rest. */
class SectionReader {
  readonly #chunks: AsyncIterator<Buffer>;
  #chunk: Buffer = Buffer.alloc(0);
  #at = 0;

  constructor(file: string) {
    this.#chunks = createReadStream(file, { highWaterMark: 1024 * 1024 })[
      Symbol.asyncIterator
    ]() as AsyncIterator<Buffer>;
  }

  /** Without the mark. Throws when it never comes. */
  async textUntil(mark: string): Promise<string> {
    let text = '';
    for (;;) {
      const before = text.length;
      text += this.#chunk.toString('latin1', this.#at);
      const found = text.indexOf(mark, Math.max(0, before - mark.length));
      if (found !== -1) {
        this.#at += found + mark.length - before;
        return text.slice(0, found);
      }
      if (!(await this.#next())) throw new Error(`it ends before ${mark}`);
    }
  }

  /** Up to the closing bracket, which is consumed. Throws unless there are `count` of them. */
  async numbers(count: number): Promise<Uint32Array> {
    const numbers = new Uint32Array(count);
    let filled = 0;
    let value = -1;
    for (;;) {
      for (; this.#at < this.#chunk.length; this.#at++) {
        const byte = this.#chunk[this.#at] ?? 0;
        if (byte >= DIGIT_0 && byte <= DIGIT_9) {
          value = Math.max(0, value) * 10 + (byte - DIGIT_0);
          continue;
        }
        if (value >= 0) numbers[filled++] = value;
        value = -1;
        if (byte !== CLOSING_BRACKET) continue;
        this.#at += 1;
        if (filled !== count) throw new Error(`it has ${filled} numbers where its head says ${count}`);
        return numbers;
      }
      if (!(await this.#next())) throw new Error('it ends in the middle of its numbers');
    }
  }

  async rest(): Promise<string> {
    const parts: Buffer[] = [];
    do parts.push(this.#chunk.subarray(this.#at));
    while (await this.#next());
    return Buffer.concat(parts).toString('utf8');
  }

  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async #next(): Promise<boolean> {
    const result = await this.#chunks.next();
    this.#chunk = result.done === true ? Buffer.alloc(0) : result.value;
    this.#at = 0;
    return result.done !== true;
  }
}
