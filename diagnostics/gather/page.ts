// The index over many processes for browsers, to triage from: is anything ill, which process, which line. Blocked
// processes and suspects first, then every process with its vital signs, then who holds the most, over all of them.
import { chart } from '../endpoints/html/charts.js';
import { htmlDocument } from '../endpoints/html/document.js';
import { flameGraph } from '../endpoints/html/flame-graph.js';
import { html, NOTHING } from '../endpoints/html/markup.js';
import type { Markup } from '../endpoints/html/markup.js';
import { clock, suspectDetails } from '../endpoints/html/page.js';
import type { Summary } from '../endpoints/summary.js';
import { duration, mebibytes } from '../endpoints/text.js';
import type { LeakSite } from '../model.js';
import type { Gathered } from './gather.js';
import { worstVerdict } from './gather.js';

/** Asked of each process for the flame graph. */
export const PAGE_SITES = 40;
/** One leak shows in every worker and at every await above it: the worst are enough to begin with. */
const SUSPECTS_OPEN = 1;
const REFRESH_SECONDS = 5;

export interface PageOptions {
  readonly title: string;
  /** Where the client sees this page, without a slash at its end: `/debug`. Processes are at `{prefix}/workers/{name}`. */
  readonly prefix: string;
  readonly refreshes: boolean;
}

export function gatheredPage(gathered: readonly Gathered[], { title, prefix, refreshes }: PageOptions): string {
  const verdict = worstVerdict(gathered);
  const suspects = suspectsOf(gathered);
  const body = html`<h1>
      ${title}
      <small>
        ${gathered.length} processes · ${clock(new Date().toISOString())} ·
        ${refreshes ? html`<a href="${prefix}">stop refreshing</a>` : html`<a href="${prefix}?refresh=1">refresh every ${REFRESH_SECONDS} s</a>`}
      </small>
    </h1>
    ${gathered.map((each) => alarm(each, prefix))}
    <h2>Leaks <span class="verdict ${verdict}">${verdict}</span></h2>
    ${suspects.length === 0 ? html`<p>Nothing has grown for long enough to be suspected.</p>` : NOTHING}
    ${suspects.map(({ process, site }, index) => suspectDetails(site, index < SUSPECTS_OPEN, processLink(process, prefix)))}
    <h2>Processes</h2>
    <div class="processes">${gathered.map((each) => processCard(each, prefix))}</div>
    <h2>Live async resources of all processes by who made them</h2>
    ${flameGraph(gathered.map(({ name, summary }) => ({ name, href: `${prefix}/workers/${name}`, sites: summary?.sites ?? [] })))}
    <h2>For tools</h2>
    <pre>
curl -H "Authorization: Bearer $ADMIN_TOKEN" …${prefix}/workers
go tool pprof http://admin:$ADMIN_TOKEN@…${prefix}/workers/http-1/pprof/profile?seconds=5
npx stampede debug --help</pre>`;
  return htmlDocument({
    title: `${title}: ${verdict}`,
    body,
    ...(refreshes ? { refreshSeconds: REFRESH_SECONDS } : {}),
  });
}

interface Suspect {
  readonly process: string;
  readonly site: LeakSite;
}

/** Leaking before suspect; within a process as its detector has ordered them. */
function suspectsOf(gathered: readonly Gathered[]): Suspect[] {
  const all = gathered.flatMap(({ name, summary }) =>
    (summary?.leaks.sites ?? []).map((site) => ({ process: name, site })),
  );
  return all.toSorted((a, b) => Number(b.site.verdict === 'leaking') - Number(a.site.verdict === 'leaking'));
}

function processLink(name: string, prefix: string): Markup {
  return html`<a href="${prefix}/workers/${name}">${name}</a>`;
}

function alarm({ name, state, summary, problem }: Gathered, prefix: string): Markup {
  if (summary === undefined) return html`<p class="banner">${name} (${state}) does not answer: ${problem ?? ''}</p>`;
  if (summary.silentMs === 0) return NOTHING;
  return html`<p class="banner">
    ${processLink(name, prefix)} is blocked: its main thread has not answered for ${duration(summary.silentMs)}.
    <a href="${prefix}/workers/${name}/stack">Which line blocks it?</a>
  </p>`;
}

function processCard({ name, role, state, pid, summary }: Gathered, prefix: string): Markup {
  const base = `${prefix}/workers/${name}`;
  return html`<section class="process">
    <h3>${processLink(name, prefix)} <small>${role} · ${state} · pid ${pid}</small></h3>
    ${summary === undefined ? html`<p>No answer.</p>` : vitalSigns(summary)}
    <p class="links">
      <a href="${base}/leaks?format=text">leaks</a> <a href="${base}/promises">promises</a>
      <a href="${base}/timers">timers</a> <a href="${base}/handles">handles</a> <a href="${base}/stack">stack</a>
      <a href="${base}/profile?seconds=5">CPU profile</a> <a href="${base}/heap?seconds=5">heap profile</a>
    </p>
  </section>`;
}

function vitalSigns({ process: { uptimeMs }, trend, promises, liveByType, leaks }: Summary): Markup {
  const timers = ['Timeout', 'Interval', 'Immediate', 'timers/promises'].map((type) => liveByType[type] ?? 0);
  const series = (pick: (point: Summary['trend'][number]) => number): { at: number; value: number }[] =>
    trend.map((point) => ({ at: point.at, value: pick(point) }));
  return html`<p>
      <span class="verdict ${leaks.verdict}">${leaks.verdict}</span> · up ${duration(uptimeMs)} ·
      <b>${Math.round(promises.pending)}</b> promises pending, <b>${Math.round(promises.abandoned)}</b> abandoned,
      <b>${Math.round(timers.reduce((sum, count) => sum + count, 0))}</b> timers
    </p>
    <div class="small charts">
      ${chart(
        'Loop busy',
        series(({ utilization }) => utilization),
        (share) => `${(share * 100).toFixed(0)} %`,
        1,
      )}
      ${chart(
        'Loop delay',
        series(({ delayMaxMs }) => delayMaxMs),
        (ms) => `${ms.toFixed(0)} ms`,
      )}
      ${chart(
        'Heap',
        series(({ heapUsed }) => heapUsed),
        mebibytes,
      )}
    </div>`;
}
