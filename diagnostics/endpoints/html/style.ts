// The index page's one style sheet. Colours for light and dark; verdicts also say their word, not only their colour.
import { Markup } from './markup.js';

export const STYLE = new Markup(`
:root { color-scheme: light dark; --line: light-dark(#d8dce2, #3a4049); --soft: light-dark(#f4f6f9, #1d2127);
  --ink: light-dark(#1a1d21, #e6e8eb); --dim: light-dark(#5c6570, #98a1ad); --accent: light-dark(#1f5fbf, #7db2ff);
  --good: light-dark(#1c7a3f, #58c785); --warn: light-dark(#9a6200, #f0b445); --bad: light-dark(#b3261e, #ff8078); }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: light-dark(#fff, #14171b);
  max-width: 76rem; margin: 0 auto; padding: 1rem 1.25rem 4rem; }
h1 { font-size: 1.4rem; margin: 0.5rem 0; } h2 { font-size: 1.1rem; margin: 2rem 0 0.5rem; }
small { color: var(--dim); font-weight: normal; font-size: 0.85rem; } a { color: var(--accent); }
code, pre { font: 13px/1.45 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; margin: 0.5rem 0; }
.banner { border-left: 4px solid var(--bad); background: var(--soft); padding: 0.75rem 1rem; }
.verdict { font-weight: 600; } .verdict.clean { color: var(--good); } .verdict.suspect { color: var(--warn); }
.verdict.leaking { color: var(--bad); } time { white-space: nowrap; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); gap: 1rem; }
.small.charts { grid-template-columns: repeat(3, 1fr); gap: 0.4rem; } .small figure { padding: 0.3rem 0.4rem; background: none; }
.small figcaption { font-size: 0.75rem; } .small figcaption small { display: none; } .small figure svg { height: 32px; }
.processes { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(24rem, 100%), 1fr)); gap: 1rem; }
.process { background: var(--soft); border-radius: 6px; padding: 0.6rem 0.9rem; } .process h3 { margin: 0; font-size: 1rem; }
.process p { margin: 0.3rem 0; font-size: 0.9rem; } .links a { margin-right: 0.6rem; white-space: nowrap; }
figure { margin: 0; padding: 0.6rem 0.8rem; background: var(--soft); border-radius: 6px; }
figcaption { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; font-size: 0.9rem; }
figure svg { width: 100%; height: 48px; display: block; }
figure path { fill: none; stroke: var(--accent); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.wide { overflow-x: auto; margin-bottom: 0.75rem; } .flame { width: 100%; min-width: 60rem; height: auto; display: block; }
.flame text { font: 11px ui-monospace, monospace; fill: #1a1d21; pointer-events: none; }
.flame .root { fill: #c9d3df; } .flame .frame0 { fill: #f2c48d; } .flame .frame1 { fill: #f5d6ae; } .flame .leaf { fill: #9ec5f0; }
.flame g:hover rect { stroke: var(--ink); }
details { border-top: 1px solid var(--line); padding: 0.4rem 0; } summary { cursor: pointer; }
summary code { display: block; color: var(--dim); margin-left: 1rem; }
details:target { background: var(--soft); } details p { margin: 0.3rem 0; }
table { border-collapse: collapse; } td { overflow-wrap: anywhere; padding: 0.2rem 1.5rem 0.2rem 0; vertical-align: top; }
`);
