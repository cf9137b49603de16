import type { LabCase } from '../case.js';

const POLL_MS = 3_600_000;
const waiters = new Set<(message: string) => void>();

export default {
  title: 'long poll whose waiter and timer outlive the client',

  leaking: () => async (_request, response) => {
    // leaks here
    const message = await new Promise<string>((resolve) => {
      waiters.add(resolve);
      setTimeout(resolve, POLL_MS, 'nothing new'); // leaks here
    });
    response.end(message);
  },

  fixed: () => async (_request, response) => {
    const message = await new Promise<string>((resolve) => {
      waiters.add(resolve);
      const limit = setTimeout(resolve, POLL_MS, 'nothing new');
      response.once('close', () => {
        waiters.delete(resolve);
        clearTimeout(limit);
        resolve('nobody is there');
      });
    });
    response.end(message);
  },
} satisfies LabCase;
