import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LabCase } from '../case.js';

const shutdown = new AbortController();
setMaxListeners(0, shutdown.signal);

export default {
  title: "an 'abort' listener per request on the shutdown signal",

  leaking: () => async (_request, response) => {
    shutdown.signal.addEventListener('abort', () => response.destroy()); // leaks here
    await sleep(5);
    response.end();
  },

  fixed: () => async (_request, response) => {
    const onShutdown = (): unknown => response.destroy();
    shutdown.signal.addEventListener('abort', onShutdown);
    try {
      await sleep(5);
      response.end();
    } finally {
      shutdown.signal.removeEventListener('abort', onShutdown);
    }
  },
} satisfies LabCase;
