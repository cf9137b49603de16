// What is live in this thread in a form for logs: why does this process not end? Reads; changes nothing.
import type { Frame, ResourceKind, SiteSample } from '../model.js';
import type { Recorder } from '../recorder/recorder.js';
import { SourceMaps } from '../recorder/source-map.js';
import { readHandles } from './handles.js';
import type { HandleDetails } from './messages.js';

/** A log line is read by people: these say enough. */
const SITES_MAX = 15;
const HANDLES_MAX = 30;
const FRAMES_MAX = 3;

export interface LiveReport {
  /** What keeps the event loop turning, by type. */
  readonly active: Readonly<Record<string, number>>;
  readonly handles: readonly HandleDetails[];
  /** The oldest first: `2 Timeout (timer), oldest 12.0 s, at claim (/srv/claims.ts:12:3) < …`. */
  readonly sites: readonly string[];
}

/** An abandoned promise keeps nothing alive. */
const HOLDING: readonly ResourceKind[] = ['promise', 'timer', 'immediate', 'handle', 'request', 'listener'];

export function liveReport(recorder: Recorder): LiveReport {
  const { active, handles } = readHandles();
  const sites = recorder
    .snapshot()
    .sites.filter(({ kind }) => HOLDING.includes(kind))
    .toSorted((a, b) => b.ageMaxMs - a.ageMaxMs);
  return {
    active,
    handles: handles.slice(0, HANDLES_MAX),
    sites: new SourceMaps().withSources(sites.slice(0, SITES_MAX)).map(describe),
  };
}

function describe({ live, type, kind, ageMaxMs, stack }: SiteSample): string {
  const places = stack.slice(0, FRAMES_MAX).map(placeOf);
  const where = places.length === 0 ? 'no stack recorded' : `at ${places.join(' < ')}`;
  return `${Math.round(live)} ${type} (${kind}), oldest ${(ageMaxMs / 1_000).toFixed(1)} s, ${where}`;
}

function placeOf({ functionName, file, line, column }: Frame): string {
  return `${functionName} (${file}:${line}:${column})`;
}
