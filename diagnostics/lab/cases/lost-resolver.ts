import type { LabCase } from '../case.js';
import { signalOf } from '../case.js';

/** Answers come back under an id; those for clients that are gone never do. */
const pending = new Map<number, { resolve: (value: string) => void; reject: (error: Error) => void }>();
let lastId = 0;

export default {
  title: 'resolver kept in a map, never called',

  leaking: () => async (_request, response) => {
    const id = ++lastId;
    // The answer to every second question is lost.
    if (id % 2 === 0) setTimeout(() => pending.get(id)?.resolve('answer'), 10);
    // leaks here
    const answer = await new Promise<string>((resolve, reject) => {
      pending.set(id, { resolve, reject });
    });
    pending.delete(id);
    response.end(answer);
  },

  fixed: () => async (_request, response) => {
    const id = ++lastId;
    if (id % 2 === 0) setTimeout(() => pending.get(id)?.resolve('answer'), 10);
    const signal = signalOf(response);
    try {
      const answer = await new Promise<string>((resolve, reject) => {
        pending.set(id, { resolve, reject });
        signal.addEventListener('abort', () => reject(new Error('the client is gone')), { once: true });
      });
      response.end(answer);
    } finally {
      pending.delete(id);
    }
  },
} satisfies LabCase;
