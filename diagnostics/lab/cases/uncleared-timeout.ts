import { setTimeout as sleep } from 'node:timers/promises';
import type { LabCase } from '../case.js';

const SESSION_MS = 3_600_000;

export default {
  title: 'long setTimeout not cleared when the work is done',

  leaking: () => async (request, response) => {
    setTimeout(() => request.destroy(new Error('took too long')), SESSION_MS); // leaks here
    await sleep(5);
    response.end();
  },

  fixed: () => async (request, response) => {
    const limit = setTimeout(() => request.destroy(new Error('took too long')), SESSION_MS);
    try {
      await sleep(5);
      response.end();
    } finally {
      clearTimeout(limit);
    }
  },
} satisfies LabCase;
