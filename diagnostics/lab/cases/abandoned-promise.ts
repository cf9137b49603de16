import { setTimeout as sleep } from 'node:timers/promises';
import type { LabCase } from '../case.js';

/** Calls back, except when there is nothing to say. */
function look(name: string, done: (found: string) => void): void {
  if (name !== '') setTimeout(done, 2, name);
}

export default {
  title: 'a path on which nobody resolves, all forgotten',

  leaking: () => async (_request, response) => {
    const found = await new Promise<string>((resolve) => look('', resolve)); // leaks here
    response.end(found);
  },

  fixed: () => async (_request, response) => {
    const over = new AbortController();
    const found = new Promise<string>((resolve) => look('name', resolve));
    const limit = sleep(500, 'not found', { signal: over.signal });
    limit.catch(() => 'it is not needed any more');
    response.end(await Promise.race([found, limit]));
    over.abort();
  },
} satisfies LabCase;
