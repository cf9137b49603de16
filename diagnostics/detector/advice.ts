// What usually causes a leak of each kind, how it is mended, and where docs/leaks.md shows it. Words only.
import type { ResourceKind } from '../model.js';

export interface Advice {
  readonly cause: string;
  readonly fix: string;
  readonly link: string;
}

const GUIDE = 'docs/leaks.md';

/** Anchors of the guide's sections; a test holds that the guide has them all. */
export const GUIDE_SECTIONS = {
  promise: 'a-promise-that-nobody-settles',
  abandoned: 'an-abandoned-promise',
  timeout: 'a-timeout-that-nobody-clears',
  interval: 'an-interval-that-nobody-clears',
  listener: 'listeners-that-pile-up',
  derivedSignal: 'signals-derived-from-a-long-lived-one',
  socket: 'sockets-that-nobody-closes',
  server: 'servers-that-nobody-closes',
  request: 'requests-without-an-end',
  child: 'children-that-nobody-ends',
} as const;

const ADVICE: Readonly<Record<keyof typeof GUIDE_SECTIONS, readonly [cause: string, fix: string]>> = {
  promise: [
    'Promises made here stay pending and something still holds them: a resolver kept in a map or queue and never called, once() for an event that does not come, a query or a task without a time limit.',
    'Settle it on every path, also when the request is gone: pass an AbortSignal per request (once(emitter, event, { signal })), delete the waiter from its map and reject it, give what is waited for a time limit.',
  ],
  abandoned: [
    'Promises made here were collected while still pending: nobody can settle them any more, so the code after their await never runs, nor its finally.',
    'Find the path on which neither resolve nor reject is called (an early return, a callback that does not come, an error in an async executor), and reject there; abort the losers of Promise.race in finally.',
  ],
  timeout: [
    'Timeouts made here pile up: each waits out its delay and holds its closure, because nobody clears it when the work is done.',
    'clearTimeout in finally, or timers/promises with a signal that is aborted in finally; one AbortSignal.timeout per request instead of timers of your own.',
  ],
  interval: [
    'Intervals made here are never cleared: each goes on ticking for a client or a task that is gone.',
    "clearInterval when its owner ends: response.on('close'), socket.on('close'), or finally.",
  ],
  listener: [
    'Listeners added here pile up on one long-lived emitter or signal, each with its closure.',
    'Add it once at start, or with { once: true } or { signal } and take it off in finally; aborted(), once() and on() of node:events take a signal for this.',
  ],
  derivedSignal: [
    'AbortSignal.any derives a signal from one that lives long (shutdown, a pool): it holds on to every derived signal that is listened to, and before Node 22 to a trace of every one.',
    'Take the listeners off the derived signal when the work is done, or link a controller of your own per request and unlink it in finally.',
  ],
  socket: [
    'Connections made here are never closed: a client per request, a connection not given back to its pool, an error path without destroy().',
    'One agent or pool per process; release or destroy() in finally; a time limit on idle sockets.',
  ],
  server: [
    'Servers opened here are never closed: each keeps its port, its connections and what its handlers hold, and the process alive.',
    'One server for all, opened at start; else close() where it was opened, in finally, and closeAllConnections() for HTTP.',
  ],
  request: [
    'Requests made here neither finish nor fail: their response is not read, or the other side does not answer and there is no time limit.',
    'Read or discard every body (response.resume()), pass a signal with a time limit, and use pipeline(), which ends all streams when one fails.',
  ],
  child: [
    'Processes or threads started here do not end.',
    'A time limit or an AbortSignal for each; a fixed pool instead of one per request; terminate in finally.',
  ],
};

/** Advice for a site of this kind and type (`SiteSample.type`). */
export function adviceFor(kind: ResourceKind, type: string): Advice {
  const topic = topicOf(kind, type);
  const [cause, fix] = ADVICE[topic];
  return { cause, fix, link: `${GUIDE}#${GUIDE_SECTIONS[topic]}` };
}

function topicOf(kind: ResourceKind, type: string): keyof typeof GUIDE_SECTIONS {
  switch (kind) {
    case 'promise':
      return 'promise';
    case 'abandoned':
      return 'abandoned';
    case 'timer':
    case 'immediate':
      return type === 'Interval' ? 'interval' : 'timeout';
    case 'listener':
      return type === 'AbortSignal.any' ? 'derivedSignal' : 'listener';
    case 'request':
      return 'request';
    case 'handle':
      if (type === 'Server') return 'server';
      return type === 'ChildProcess' || type === 'Worker' ? 'child' : 'socket';
  }
}
