// What the collection rules save is what the pages give: an action is a request to one of them, made within the thread.
import type { Readable } from 'node:stream';
import type { Action } from '../collection/rules.js';
import type { AgentParts } from './debug-request.js';
import { ROUTES } from './routes.js';

const TARGETS: Readonly<Record<Action, string>> = {
  leaks: '/debug/leaks?format=text',
  async: '/debug/async?format=pprof',
  stack: '/debug/stack',
  profile: '/debug/profile?seconds=10',
  heap: '/debug/heap?seconds=10',
  trace: '/debug/trace?seconds=5&format=json',
  snapshot: '/debug/heap/snapshot',
};

/** Rejects as the page would answer: busy, blocked, not enough memory. */
export async function takeEvidence(action: Action, agent: AgentParts): Promise<string | Buffer | Readable> {
  const { pathname, searchParams: query } = new URL(TARGETS[action], 'http://debug');
  const route = ROUTES.get(pathname);
  if (route === undefined) throw new Error(`there is no page ${pathname}`);
  // Nobody waits for it who could go away.
  const request = { query, accept: '', gone: new AbortController().signal, prefix: '/debug' };
  return (await route.endpoint(request, agent)).body;
}
