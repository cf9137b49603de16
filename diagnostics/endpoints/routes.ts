// The table of /debug: every path, its method, its endpoint and one line that says what it gives.
import type { Endpoint } from './debug-request.js';
import { heap, profile } from './profiles.js';
import { eventLoop, gc } from './runtime.js';
import { stack } from './stack.js';

export interface Route {
  readonly method: 'GET' | 'POST';
  readonly endpoint: Endpoint;
  /** For the index. */
  readonly gives: string;
}

const PAGES: Readonly<Record<string, Route>> = {
  '/stack': { method: 'GET', endpoint: stack, gives: 'what the main thread runs now, even while its loop is blocked' },
  '/profile': { method: 'GET', endpoint: profile, gives: 'CPU profile of ?seconds=N, pprof' },
  '/heap': { method: 'GET', endpoint: heap, gives: 'memory allocated in ?seconds=N and still alive, by stack, pprof' },
  '/eventloop': { method: 'GET', endpoint: eventLoop, gives: 'delay and utilisation of the event loop' },
  '/gc': { method: 'GET', endpoint: gc, gives: 'pauses of garbage collection' },
};

/** The names of Go's net/http/pprof, so that habits and scripts fit. */
const GO_NAMES: Readonly<Record<string, string>> = { '/profile': '/profile', '/heap': '/heap' };

export const ROUTES: ReadonlyMap<string, Route> = new Map([
  ...Object.entries(PAGES).map(([path, route]) => [`/debug${path}`, route] as const),
  ...Object.entries(GO_NAMES).flatMap(([go, ours]) => {
    const route = PAGES[ours];
    return route === undefined ? [] : [[`/debug/pprof${go}`, route] as const];
  }),
]);
