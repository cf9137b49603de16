import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LabCase } from '../case.js';
import { signalOf } from '../case.js';

const shutdown = new AbortController();
setMaxListeners(0, shutdown.signal);

export default {
  title: 'AbortSignal.any on the shutdown signal',

  leaking: () => async (_request, response) => {
    const either = AbortSignal.any([shutdown.signal, new AbortController().signal]); // leaks here
    either.addEventListener('abort', () => response.destroy());
    await sleep(5);
    response.end();
  },

  fixed: () => async (_request, response) => {
    const either = new AbortController();
    const abort = (): void => either.abort();
    shutdown.signal.addEventListener('abort', abort);
    signalOf(response).addEventListener('abort', abort);
    try {
      await sleep(5, undefined, { signal: either.signal });
      response.end();
    } finally {
      shutdown.signal.removeEventListener('abort', abort);
    }
  },
} satisfies LabCase;
