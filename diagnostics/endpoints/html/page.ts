// The index page for browsers: is it ill, since when, which line. Verdict and suspects first, then vital signs, then what
// is live, then the list of everything there is. One document, no script, nothing loaded from anywhere.
import type { LeakSite, SiteSample } from '../../model.js';
import type { Overview } from '../overview.js';
import { estimateText, duration, frameText, mebibytes } from '../text.js';
import { chart } from './charts.js';
import { htmlDocument } from './document.js';
import { flameGraph } from './flame-graph.js';
import { html, Markup, NOTHING } from './markup.js';

const SITES_SHOWN = 30;
/** One forgotten promise shows at every await above it: the worst ones are enough to begin with. */
const SUSPECTS_OPEN = 2;
const MS_PER_SECOND = 1_000;

/** `prefix`: where the client sees `/debug`; every link is relative to it. */
export function indexPage(overview: Overview, prefix: string): string {
  const { process: watched, leaks, sites } = overview;
  const body = html`<h1>
      ${watched.name}
      <small>pid ${watched.pid} · Node ${watched.nodeVersion} · up ${duration(watched.uptimeMs)}</small>
    </h1>
    ${banner(overview, prefix)}
    <h2>Leaks <span class="verdict ${leaks.verdict}">${leaks.verdict}</span></h2>
    ${leaks.sites.length === 0 ? html`<p>${cleanText(overview)}</p>` : leaks.sites.map((site, index) => suspectDetails(site, index < SUSPECTS_OPEN))}
    <h2>Vital signs <small>${spanText(overview)}</small></h2>
    <div class="charts">${charts(overview)}</div>
    <h2>Live async resources by who made them</h2>
    ${flameGraph([{ name: 'all', sites }])} ${sites.slice(0, SITES_SHOWN).map(siteDetails)}
    ${sites.length > SITES_SHOWN ? html`<p><a href="${prefix}/async?debug=2">all ${sites.length} places</a></p>` : NOTHING}
    <h2>All there is</h2>
    <table>
      ${overview.endpoints.map((endpoint) => endpointRow(endpoint, prefix))}
    </table>`;
  return htmlDocument({ title: `${watched.name} (${watched.pid}): ${leaks.verdict}`, body });
}

function banner({ silentMs }: Overview, prefix: string): Markup {
  if (silentMs === 0) return NOTHING;
  return html`<p class="banner">
    The main thread is blocked: it has not answered for ${duration(silentMs)}. What follows is the last known.
    <a href="${prefix}/stack">Which line blocks it?</a>
  </p>`;
}

function cleanText({ leaks }: Overview): string {
  return leaks.to === 0
    ? 'Not judged yet: the detector wants to see some minutes.'
    : `Nothing has grown for long enough to be suspected. Judged over ${duration(leaks.to - leaks.from)}.`;
}

/** `where`: the process, on a page of several. */
export function suspectDetails(site: LeakSite, isOpen: boolean, where: Markup = NOTHING): Markup {
  return html`<details class="suspect ${site.verdict}" ${isOpen ? new Markup('open') : NOTHING}>
    <summary>
      <span class="verdict ${site.verdict}">${site.verdict}</span> ${where} <b>${Math.round(site.live)}</b> ${site.type}
      (${site.kind}), <b>+${site.growthPerMinute.toFixed(1)}/min</b> since ${clock(site.since)}, oldest
      ${duration(site.oldestSeconds * MS_PER_SECOND)}
      <code>${site.stack[0] === undefined ? '' : frameText(site.stack[0])}</code>
    </summary>
    ${stackList(site)}
    <p><b>Usual cause:</b> ${site.cause}</p>
    <p><b>Fix:</b> ${site.fix} <small>(${site.link})</small></p>
  </details>`;
}

/** `10:41:09 UTC`, the whole date on hovering. `at`: ISO 8601. */
export function clock(at: string): Markup {
  return html`<time datetime="${at}" title="${at}">${at.slice(11, 19)} UTC</time>`;
}

function siteDetails(site: SiteSample): Markup {
  const details = Object.entries(site.details).map(([key, value]) => ` · ${key} ${value}`);
  return html`<details id="site-${site.siteId}">
    <summary>
      <b>${Math.round(site.live)}</b> ${site.type} (${site.kind})${estimateText(site)}, age
      ${[site.ageMinMs, site.ageP50Ms, site.ageMaxMs].map(duration).join(' / ')}${details.join('')}
      <code>${site.stack[0] === undefined ? 'no stack recorded' : frameText(site.stack[0])}</code>
    </summary>
    ${stackList(site)}
  </details>`;
}

function stackList({ stack }: { readonly stack: SiteSample['stack'] }): Markup {
  return html`<pre>${stack.map((frame) => `at ${frameText(frame)}`).join('\n')}</pre>`;
}

function spanText({ vitals }: Overview): string {
  const [first, last] = [vitals[0], vitals.at(-1)];
  return first === undefined || last === undefined ? 'none read yet' : `the last ${duration(last.at - first.at)}`;
}

function charts({ vitals }: Overview): Markup[] {
  const series = (pick: (vital: Overview['vitals'][number]) => number): { at: number; value: number }[] =>
    vitals.map((vital) => ({ at: vital.at, value: pick(vital) }));
  const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;
  const ms = (value: number): string => `${value.toFixed(1)} ms`;
  return [
    chart(
      'Loop busy',
      series(({ loop }) => loop.utilization),
      percent,
      1,
    ),
    chart(
      'Loop delay, worst',
      series(({ loop }) => loop.delayMs.max),
      ms,
    ),
    chart(
      'Loop delay, p99',
      series(({ loop }) => loop.delayMs.p99),
      ms,
    ),
    chart(
      'Heap used',
      series(({ memory }) => memory.heapUsed),
      mebibytes,
    ),
    chart(
      'Resident memory',
      series(({ memory }) => memory.rss),
      mebibytes,
    ),
    chart(
      'GC pauses',
      series(({ gc }) => gc.pauseMs),
      ms,
    ),
  ];
}

function endpointRow({ method, path, gives }: Overview['endpoints'][number], prefix: string): Markup {
  const href = `${prefix}${path}`;
  const name = method === 'GET' ? html`<a href="${href}">${path}</a>` : html`<code>curl -X ${method} …${href}</code>`;
  return html`<tr>
    <td>${name}</td>
    <td>${gives}</td>
  </tr>`;
}
