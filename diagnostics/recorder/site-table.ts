// The recorder's memory: what is live, by the place that created it. Bounded: when the entries are full every second one
// goes and the others count double, so the estimates stay right. Never holds what is watched, except in its first
// moments (`fresh`): most promises end within one sweep, and are then forgotten without their stack ever being read.
import { createHash } from 'node:crypto';
import type { Frame, RecordedOne, ResourceKind, SiteSample } from '../model.js';
import { AGE_STEPS_MS } from '../model.js';
import { readStack } from './stack.js';
import type { ReadStack } from './stack.js';

/** For `own.bytes`, by estimate and not by measurement: an entry with its WeakRef or registration, and a site. */
const BYTES_PER_ENTRY = 220;
const BYTES_PER_SITE = 2_500;
const ID_LENGTH = 12;
const NO_STACK: ReadStack = { frames: [], builtin: undefined, isAgents: false };

/** Of one site: so that one leak does not push out all others, and a sweep stays short. */
const ENTRIES_PER_SITE_MAX = 1_000;

export type Details = Readonly<Record<string, string | number>>;

/** One thing that was recorded. Made by the watchers; only the table changes it afterwards. */
export class Entry {
  kind: ResourceKind;
  type: string;
  details: Details;
  /** For how many it stands. */
  weight: number;
  /** `performance.now()`. */
  readonly createdAt: number;
  ended = false;
  site: Site | undefined;
  /** Held until the first sweep only. */
  stack: Error | undefined;
  target: object | undefined;
  /** Thereafter, for what is not told but asked whether it is live. */
  ref: WeakRef<object> | undefined;
  /** Absent for promises: they tell when they settle or are collected. */
  readonly isLive: ((target: object) => boolean) | undefined;

  constructor(made: NewEntry) {
    this.kind = made.kind;
    this.type = made.type;
    this.details = made.details;
    this.weight = made.weight;
    this.createdAt = performance.now();
    this.stack = made.stack;
    this.target = made.target;
    this.isLive = made.isLive;
  }
}

export interface NewEntry {
  readonly kind: ResourceKind;
  readonly type: string;
  readonly details: Details;
  readonly weight: number;
  readonly stack: Error | undefined;
  readonly target: object;
  readonly isLive?: (target: object) => boolean;
}

interface Site {
  readonly id: string;
  readonly kind: ResourceKind;
  readonly type: string;
  readonly frames: readonly Frame[];
  details: Details;
  /** In the order of creation: the oldest first. */
  readonly entries: Set<Entry>;
  created: number;
  ended: number;
  abandoned: number;
  abandonedSampled: number;
  abandonedSince: number;
}

export interface SiteTableOptions {
  readonly entriesMax: number;
  readonly sitesMax: number;
}

export class SiteTable {
  readonly #options: SiteTableOptions;
  readonly #sites = new Map<string, Site>();
  #fresh: Entry[] = [];
  #kept = 0;
  readonly #collected: FinalizationRegistry<Entry>;

  constructor(options: SiteTableOptions) {
    this.#options = options;
    this.#collected = new FinalizationRegistry((entry) => {
      if (!entry.ended) this.#abandon(entry);
    });
  }

  get entries(): number {
    return this.#kept + this.#fresh.length;
  }

  get sites(): number {
    return this.#sites.size;
  }

  get bytes(): number {
    return this.entries * BYTES_PER_ENTRY + this.#sites.size * BYTES_PER_SITE;
  }

  add(entry: Entry): void {
    this.#fresh.push(entry);
  }

  /** It settled, fired, closed: forget it. */
  end(entry: Entry): void {
    if (entry.ended) return;
    entry.ended = true;
    entry.stack = undefined;
    entry.target = undefined;
    entry.ref = undefined;
    if (entry.site === undefined) return;
    entry.site.ended += entry.weight;
    if (entry.site.entries.delete(entry)) this.#kept -= 1;
    entry.site = undefined;
  }

  /** Forgets what has ended, finds the site of what has outlived its first sweep, and lets go of what it held. */
  sweep(): void {
    const fresh = this.#fresh;
    this.#fresh = [];
    for (const site of this.#sites.values()) {
      for (const entry of site.entries) {
        if (entry.isLive === undefined) continue;
        const target = entry.ref?.deref();
        if (target === undefined || !entry.isLive(target)) this.end(entry);
      }
    }
    for (const entry of fresh) this.#keep(entry);
    for (const site of this.#sites.values()) {
      while (site.entries.size > ENTRIES_PER_SITE_MAX) this.#thinOut(site);
    }
    while (this.#kept > this.#options.entriesMax) {
      for (const site of this.#sites.values()) this.#thinOut(site);
    }
    this.#forgetEmptySites();
  }

  /** `withEach`: with every recorded one. */
  samples(withEach = false): SiteSample[] {
    const now = performance.now();
    const samples: SiteSample[] = [];
    for (const site of this.#sites.values()) {
      if (site.entries.size > 0) {
        const sample = liveSample(site, now);
        samples.push(withEach ? { ...sample, each: everyOne(site, now) } : sample);
      }
      if (site.abandoned > 0) samples.push(abandonedSample(site, now));
    }
    return samples;
  }

  #keep(entry: Entry): void {
    const { target } = entry;
    if (entry.ended || target === undefined) return;
    entry.target = undefined;
    if (entry.isLive !== undefined && !entry.isLive(target)) {
      entry.ended = true;
      entry.stack = undefined;
      return;
    }
    const site = this.#siteOf(entry);
    entry.stack = undefined;
    if (site === undefined) {
      entry.ended = true;
      return;
    }
    entry.site = site;
    site.entries.add(entry);
    site.created += entry.weight;
    site.details = entry.details;
    this.#kept += 1;
    if (entry.isLive === undefined) this.#collected.register(target, entry);
    else entry.ref = new WeakRef(target);
  }

  /** undefined when the table is full of sites, and for what the agent makes for itself. */
  #siteOf(entry: Entry): Site | undefined {
    const { frames, builtin, isAgents } = entry.stack === undefined ? NO_STACK : readStack(entry.stack);
    if (isAgents) return undefined;
    const details =
      builtin === undefined || entry.kind !== 'promise' ? entry.details : { ...entry.details, by: builtin };
    entry.details = details;
    const place = frames.map(({ file, line, column }) => `${file}:${line}:${column}`).join('\n');
    const key = `${entry.kind}\n${entry.type}\n${String(details.by ?? details.site ?? '')}\n${place}`;
    const known = this.#sites.get(key);
    if (known !== undefined) return known;
    if (this.#sites.size >= this.#options.sitesMax) return undefined;
    const site: Site = {
      id: createHash('sha1').update(key).digest('hex').slice(0, ID_LENGTH),
      kind: entry.kind,
      type: entry.type,
      frames,
      details,
      entries: new Set(),
      created: 0,
      ended: 0,
      abandoned: 0,
      abandonedSampled: 0,
      abandonedSince: 0,
    };
    this.#sites.set(key, site);
    return site;
  }

  #abandon(entry: Entry): void {
    const { site } = entry;
    this.end(entry);
    if (site === undefined) return;
    site.ended -= entry.weight;
    if (site.abandoned === 0) site.abandonedSince = performance.now();
    site.abandoned += entry.weight;
    site.abandonedSampled += 1;
  }

  /** Keeps every second one, the oldest first, each for two. A single one stays: its site must not vanish. */
  #thinOut(site: Site): void {
    let keep = false;
    for (const entry of site.entries) {
      keep = !keep;
      if (keep) {
        if (site.entries.size > 1) entry.weight *= 2;
        continue;
      }
      site.entries.delete(entry);
      this.#kept -= 1;
      entry.ended = true;
      entry.site = undefined;
      entry.ref = undefined;
    }
  }

  /** A site where nothing lives and nothing was abandoned may come back later under the same id. */
  #forgetEmptySites(): void {
    if (this.#sites.size < this.#options.sitesMax / 2) return;
    for (const [key, site] of this.#sites) {
      if (site.entries.size === 0 && site.abandoned === 0) this.#sites.delete(key);
    }
  }
}

function liveSample(site: Site, now: number): SiteSample {
  const entries = [...site.entries];
  const ages = AGE_STEPS_MS.map(() => 0);
  let live = 0;
  for (const entry of entries) {
    live += entry.weight;
    for (const [step, ageMs] of AGE_STEPS_MS.entries()) {
      if (now - entry.createdAt < ageMs) break;
      ages[step] = (ages[step] ?? 0) + entry.weight;
    }
  }
  const ageOf = (entry: Entry | undefined): number => (entry === undefined ? 0 : Math.round(now - entry.createdAt));
  return {
    siteId: site.id,
    kind: site.kind,
    type: site.type,
    stack: site.frames,
    live,
    sampled: entries.length,
    created: site.created,
    ended: site.ended,
    ageMinMs: ageOf(entries.at(-1)),
    ageP50Ms: ageOf(entries[entries.length >> 1]),
    ageMaxMs: ageOf(entries[0]),
    details: site.details,
    ages,
  };
}

function everyOne({ entries }: Site, now: number): RecordedOne[] {
  return [...entries].map(({ createdAt, weight }) => ({ ageMs: Math.round(now - createdAt), weight }));
}

/** What is gone has no age: the first one's discovery stands for it. */
function abandonedSample(site: Site, now: number): SiteSample {
  return {
    siteId: `${site.id}-abandoned`,
    kind: 'abandoned',
    type: site.type,
    stack: site.frames,
    live: site.abandoned,
    sampled: site.abandonedSampled,
    created: site.created,
    ended: site.ended,
    ageMinMs: 0,
    ageP50Ms: 0,
    ageMaxMs: Math.round(now - site.abandonedSince),
    details: site.details,
  };
}
