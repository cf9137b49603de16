// What an endpoint is given and what it gives back, with the checks of query parameters that all of them share.
import type { OutgoingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import type { HeavyGate } from '../agent/heavy-gate.js';
import type { MainLink, MainThreadBlocked } from '../agent/main-link.js';
import type { ThreadData } from '../agent/messages.js';
import type { OtherThreads } from '../agent/other-threads.js';
import type { ProcessSnapshots } from '../agent/process-snapshots.js';
import type { Watch } from '../agent/watch.js';
import type { SourceMaps } from '../recorder/source-map.js';

/** The parts of the diagnostics thread that endpoints draw on. */
export interface AgentParts {
  readonly data: ThreadData;
  readonly link: MainLink;
  readonly processSnapshots: ProcessSnapshots;
  readonly threads: Pick<OtherThreads, 'reports'>;
  readonly watch: Watch;
  /** What disturbs the main thread. */
  readonly gate: HeavyGate;
  /** Heap snapshots until they are sent: each is a large file. */
  readonly snapshots: HeavyGate;
  readonly maps: SourceMaps;
}

export type Format = 'html' | 'json' | 'pprof' | 'text';

export interface DebugRequest {
  readonly query: URLSearchParams;
  readonly accept: string;
  /** Aborted when the client goes away or the agent stops. */
  readonly gone: AbortSignal;
  /** Path under which the client sees `/debug`, without a slash at its end: the admin port mounts many agents. */
  readonly prefix: string;
}

export interface Reply {
  readonly status?: number;
  readonly type: string;
  readonly body: string | Buffer | Readable;
  readonly headers?: OutgoingHttpHeaders;
}

export type Endpoint = (request: DebugRequest, agent: AgentParts) => Promise<Reply>;

/** How long an endpoint waits for the main thread before it answers with what was last known. */
export const ANSWER_TIMEOUT_MS = 1_000;

/** A request that cannot be served as it is, with the status to say so. */
export class DebugError extends Error {
  override readonly name = 'DebugError';
  readonly status: number;
  readonly code: string;
  readonly headers: OutgoingHttpHeaders;

  constructor(status: number, code: string, message: string, headers: OutgoingHttpHeaders = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

/** The first of `offered` is the default. `?format=` decides, then what a browser or a program says it accepts. */
export function formatOf(request: DebugRequest, offered: readonly Format[]): Format {
  const asked = request.query.get('format');
  if (asked !== null) {
    const format = offered.find((known) => known === asked);
    if (format === undefined)
      throw new DebugError(400, 'invalid_query', `format is one of ${[...new Set(offered)].join(', ')}`);
    return format;
  }
  if (offered.includes('html') && request.accept.includes('text/html')) return 'html';
  if (offered.includes('json') && request.accept.includes('application/json')) return 'json';
  return offered[0] ?? 'text';
}

/** @throws DebugError 400 that names the parameter and its bounds. */
export function secondsOf(request: DebugRequest, defaultSeconds: number, maxSeconds: number): number {
  const asked = request.query.get('seconds');
  if (asked === null) return defaultSeconds;
  const seconds = Number(asked);
  if (asked === '' || !(seconds > 0) || seconds > maxSeconds) {
    throw new DebugError(400, 'invalid_query', `seconds is a number above 0 and at most ${maxSeconds}`);
  }
  return seconds;
}

/** @throws DebugError 400 that names the parameter and its bounds. */
export function wholeOf({ query }: DebugRequest, name: string, fallback: number, min: number, max: number): number {
  const asked = query.get(name);
  if (asked === null) return fallback;
  const number = Number(asked);
  if (asked === '' || !Number.isInteger(number) || number < min || number > max) {
    throw new DebugError(400, 'invalid_query', `${name} is a whole number from ${min} to ${max}`);
  }
  return number;
}

export const TEXT = 'text/plain; charset=utf-8';

export function text(body: string): Reply {
  return { type: TEXT, body: body.endsWith('\n') ? body : `${body}\n` };
}

export function json(value: unknown, status = 200): Reply {
  return { status, type: 'application/json; charset=utf-8', body: `${JSON.stringify(value, null, 2)}\n` };
}

export function pprof(name: string, body: Buffer): Reply {
  const headers = { 'content-disposition': `attachment; filename="${name}.pb.gz"` };
  return { type: 'application/octet-stream', body, headers };
}

/** One line for people when what follows is not fresh. */
export function staleLine(stale: MainThreadBlocked | undefined): string {
  return stale === undefined
    ? ''
    : `! The main thread is blocked (silent for ${stale.silentMs} ms): this is the last known. See /debug/stack.\n`;
}
