// A flame graph of live async resources by the stack that made them, as inline SVG: width is how many are live, depth is
// who called whom (the outermost caller at the top), the last row names the type. Hovering tells the place.
import type { Frame, SiteSample } from '../../model.js';
import { frameText } from '../text.js';
import { html, NOTHING } from './markup.js';
import type { Markup } from './markup.js';

const WIDTH = 1_200;
const ROW = 20;
const DEPTH_MAX = 12;
/** Narrower boxes cannot be seen; their share stays visible as empty room. */
const BOX_WIDTH_MIN = 2;
const CHARACTER_WIDTH = 6.6;
const TEXT_PADDING = 4;
const LABEL_CHARACTERS_MIN = 4;

interface Node {
  readonly name: string;
  readonly place: string;
  /** Set on the last row: where the site is listed. */
  readonly href: string | undefined;
  live: number;
  readonly children: Map<string, Node>;
}

/** The resources of one process. */
export interface FlameGroup {
  readonly name: string;
  readonly sites: readonly SiteSample[];
  /** The page that lists the sites, where it is not this one. */
  readonly href?: string;
}

/** A single group is the root itself; several are the row below it. */
export function flameGraph(groups: readonly FlameGroup[]): Markup {
  const root = treeOf(groups);
  if (root.live === 0) return html`<p>Nothing is live.</p>`;
  const rows = Math.min(DEPTH_MAX, depthOf(root, root)) + 1;
  return html`<div class="wide">
    <svg class="flame" viewBox="0 0 ${WIDTH} ${rows * ROW}" role="img" aria-label="live async resources by stack">
      ${box(root, root, 0, 0)}
    </svg>
  </div>`;
}

function treeOf(groups: readonly FlameGroup[]): Node {
  const root = nodeOf('all', 'every live resource');
  for (const { name, sites, href = '' } of groups) {
    for (const { siteId, stack, type, kind, live } of sites) {
      root.live += live;
      const group = groups.length === 1 ? root : childOf(root, name, nodeOf(name, 'process'), live);
      let node = group;
      for (const frame of stack.slice(0, DEPTH_MAX - 1).toReversed()) {
        node = childOf(node, frameText(frame), nodeOf(shortName(frame), frameText(frame)), live);
      }
      const leaf = {
        ...nodeOf(`${type} (${kind})`, stack[0] ? frameText(stack[0]) : ''),
        href: `${href}#site-${siteId}`,
      };
      childOf(node, siteId, leaf, live);
    }
  }
  return root;
}

function nodeOf(name: string, place: string): Node {
  return { name, place, href: undefined, live: 0, children: new Map() };
}

function childOf(parent: Node, key: string, fresh: Node, live: number): Node {
  const child = parent.children.get(key) ?? fresh;
  parent.children.set(key, child);
  child.live += live;
  return child;
}

/** Of what is wide enough to be drawn. */
function depthOf(node: Node, root: Node): number {
  const drawn = [...node.children.values()].filter((child) => widthOf(child, root) >= BOX_WIDTH_MIN);
  return 1 + Math.max(0, ...drawn.map((child) => depthOf(child, root)));
}

function widthOf(node: Node, root: Node): number {
  return (node.live / root.live) * WIDTH;
}

function box(node: Node, root: Node, x: number, depth: number): Markup {
  const width = widthOf(node, root);
  if (width < BOX_WIDTH_MIN || depth > DEPTH_MAX) return NOTHING;
  const share = `${((node.live / root.live) * 100).toFixed(1)} %`;
  const label = cut(node.name, Math.floor((width - 2 * TEXT_PADDING) / CHARACTER_WIDTH));
  const shape = html`<g>
    <title>${node.name}: ${Math.round(node.live)} live, ${share} ${node.place}</title>
    <rect
      x="${x.toFixed(1)}"
      y="${depth * ROW}"
      width="${(width - 1).toFixed(1)}"
      height="${ROW - 1}"
      class="${classOf(node, depth)}"
    />
    <text x="${(x + TEXT_PADDING).toFixed(1)}" y="${depth * ROW + 14}">${label}</text>
  </g>`;
  const linked = node.href === undefined ? shape : html`<a href="${node.href}">${shape}</a>`;
  let childX = x;
  const children = [...node.children.values()]
    .toSorted((a, b) => b.live - a.live)
    .map((child) => {
      const drawn = box(child, root, childX, depth + 1);
      childX += widthOf(child, root);
      return drawn;
    });
  return html`${linked}${children}`;
}

/** To so many characters; nothing where too little would be left to tell anything. */
function cut(name: string, characters: number): string {
  if (name.length <= characters) return name;
  return characters < LABEL_CHARACTERS_MIN ? '' : `${name.slice(0, characters - 1)}…`;
}

function classOf(node: Node, depth: number): string {
  if (depth === 0) return 'root';
  return node.href === undefined ? `frame${depth % 2}` : 'leaf';
}

function shortName({ functionName, file, line }: Frame): string {
  return `${functionName} ${file.slice(file.lastIndexOf('/') + 1)}:${line}`;
}
