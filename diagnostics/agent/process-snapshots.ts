// The recorders' snapshots of a whole process: the main thread's, and those of the worker threads that have a recorder.
import type { RecorderSnapshot, SiteSample } from '../model.js';
import type { Known, MainLink } from './main-link.js';
import type { OtherThreads } from './other-threads.js';
import type { SourceMaps } from '../recorder/source-map.js';

export class ProcessSnapshots {
  readonly #link: MainLink;
  readonly #threads: OtherThreads;

  readonly #maps: SourceMaps;

  constructor(link: MainLink, threads: OtherThreads, maps: SourceMaps) {
    this.#link = link;
    this.#threads = threads;
    this.#maps = maps;
  }

  /** @throws MainThreadBlocked when the main thread does not answer within `timeoutMs`. */
  async read(timeoutMs: number): Promise<RecorderSnapshot> {
    const [main, others] = await Promise.all([this.#link.ask('snapshot', timeoutMs), this.#threads.snapshots()]);
    return this.#shown(main, others);
  }

  /** A blocked main thread is answered for with its last snapshot, if it ever gave one. `each`: with every recorded one of the main thread. */
  async readOrLast(timeoutMs: number, each = false): Promise<Known<RecorderSnapshot>> {
    const [main, others] = await Promise.all([this.#readMain(timeoutMs, each), this.#threads.snapshots()]);
    return { value: main.value === undefined ? undefined : this.#shown(main.value, others), stale: main.stale };
  }

  #shown(main: RecorderSnapshot, others: ReadonlyMap<number, RecorderSnapshot>): RecorderSnapshot {
    const all = merged(main, others);
    return { ...all, sites: this.#maps.withSources(all.sites) };
  }

  /** The last one with every recorded one may be much older than the last one without. */
  async #readMain(timeoutMs: number, each: boolean): Promise<Known<RecorderSnapshot>> {
    const known = await this.#link.askOrLast(each ? 'everyOne' : 'snapshot', timeoutMs);
    return each && known.stale !== undefined ? this.#link.askOrLast('snapshot', 0) : known;
  }
}

/** Rates and mode are the main thread's; what is live and what the recorders hold is added up. */
export function merged(main: RecorderSnapshot, others: ReadonlyMap<number, RecorderSnapshot>): RecorderSnapshot {
  if (others.size === 0) return main;
  const all = [main, ...others.values()];
  const sum = (pick: (snapshot: RecorderSnapshot) => number): number =>
    all.reduce((total, each) => total + pick(each), 0);
  const liveByType: Record<string, number> = {};
  for (const [type, live] of all.flatMap((each) => Object.entries(each.liveByType))) {
    liveByType[type] = (liveByType[type] ?? 0) + live;
  }
  return {
    ...main,
    sites: [
      ...main.sites,
      ...[...others].flatMap(([thread, { sites }]) => sites.map((site) => ofThread(site, thread))),
    ],
    liveByType,
    own: {
      entries: sum(({ own }) => own.entries),
      entriesMax: sum(({ own }) => own.entriesMax),
      sites: sum(({ own }) => own.sites),
      sitesMax: sum(({ own }) => own.sitesMax),
      bytes: sum(({ own }) => own.bytes),
    },
  };
}

function ofThread(site: SiteSample, thread: number): SiteSample {
  return { ...site, siteId: `thread-${thread}-${site.siteId}`, details: { ...site.details, thread } };
}
