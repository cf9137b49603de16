// The table of /debug: every path, its method, its endpoint and one line that says what it gives.
import type { Endpoint } from './debug-request.js';
import { heapSnapshot } from './heap-snapshot.js';
import { leaks } from './leaks.js';
import { overviewOf } from './overview.js';
import { heap, profile } from './profiles.js';
import { handles, resourcesOf } from './resources.js';
import { eventLoop, gc } from './runtime.js';
import { stack } from './stack.js';
import { summary } from './summary.js';
import { trace } from './trace.js';

export interface Route {
  readonly method: 'GET' | 'POST';
  readonly endpoint: Endpoint;
  /** For the index. */
  readonly gives: string;
}

const PAGES: Readonly<Record<string, Route>> = {
  '/leaks': { method: 'GET', endpoint: leaks, gives: 'which lines leak, since when, how fast, and what to do' },
  '/async': { method: 'GET', endpoint: resourcesOf('async'), gives: 'live async resources by the line that made them' },
  '/promises': {
    method: 'GET',
    endpoint: resourcesOf('promises'),
    gives: 'pending and abandoned promises, the same way',
  },
  '/timers': { method: 'GET', endpoint: resourcesOf('timers'), gives: 'timers and immediates, the same way' },
  '/handles': { method: 'GET', endpoint: handles, gives: 'sockets, servers, child processes: what is open' },
  '/stack': { method: 'GET', endpoint: stack, gives: 'what the main thread runs now, even while its loop is blocked' },
  '/profile': { method: 'GET', endpoint: profile, gives: 'CPU profile of ?seconds=N, pprof' },
  '/heap': { method: 'GET', endpoint: heap, gives: 'memory allocated in ?seconds=N and still alive, by stack, pprof' },
  '/heap/snapshot': { method: 'GET', endpoint: heapSnapshot, gives: 'a .heapsnapshot; stops the program meanwhile' },
  '/trace': {
    method: 'POST',
    endpoint: trace,
    gives: 'full traces of ?seconds=N, ?mode=all|promises|without-promises',
  },
  '/summary': { method: 'GET', endpoint: summary, gives: 'the process in a few KB of JSON, for whoever gathers many' },
  '/eventloop': { method: 'GET', endpoint: eventLoop, gives: 'delay and utilisation of the event loop' },
  '/gc': { method: 'GET', endpoint: gc, gives: 'pauses of garbage collection' },
};

const pprofOf = (view: 'async' | 'promises', gives: string): Route => {
  return { method: 'GET', endpoint: resourcesOf(view, 'pprof'), gives };
};

/** The names of Go's net/http/pprof, so that habits and scripts fit; they give pprof, or text with `?debug=1`. */
const GO_PAGES: Readonly<Record<string, Route>> = {
  '/profile': { method: 'GET', endpoint: profile, gives: 'CPU profile' },
  '/heap': { method: 'GET', endpoint: heap, gives: 'heap profile' },
  '/async': pprofOf('async', 'live async resources'),
  // What Go calls a goroutine that waits is a pending promise here.
  '/goroutine': pprofOf('promises', 'pending promises'),
};

const index: Route = {
  method: 'GET',
  endpoint: overviewOf(() => Object.entries(PAGES).map(([path, { method, gives }]) => ({ method, path, gives }))),
  gives: 'this page',
};

export const ROUTES: ReadonlyMap<string, Route> = new Map([
  ['/debug', index] as const,
  ['/debug/pprof', index] as const,
  ...Object.entries(PAGES).map(([path, route]) => [`/debug${path}`, route] as const),
  ...Object.entries(GO_PAGES).map(([path, route]) => [`/debug/pprof${path}`, route] as const),
]);
