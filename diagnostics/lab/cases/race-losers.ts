import { EventEmitter, once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LabCase } from '../case.js';

const operator = new EventEmitter().setMaxListeners(0);

export default {
  title: 'Promise.race whose loser never settles',

  leaking: () => async (_request, response) => {
    const work = sleep(5, 'done');
    const cancelled = once(operator, 'cancel'); // leaks here
    await Promise.race([work, cancelled]); // leaks here
    response.end();
  },

  fixed: () => async (_request, response) => {
    const over = new AbortController();
    const work = sleep(5, 'done');
    const cancelled = once(operator, 'cancel', { signal: over.signal });
    try {
      await Promise.race([work, cancelled]);
    } finally {
      over.abort();
      await cancelled.catch(() => 'the loser has ended');
    }
    response.end();
  },
} satisfies LabCase;
