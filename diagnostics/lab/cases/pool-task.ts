import { Piscina } from 'piscina';
import type { LabCase } from '../case.js';
import { signalOf } from '../case.js';

const newPool = (): Piscina =>
  new Piscina({
    filename: new URL('pool-task-thread.js', import.meta.url).href,
    maxThreads: 1,
    concurrentTasksPerWorker: 1_000,
  });

export default {
  title: 'thread pool task that never settles',

  leaking: () => {
    const pool = newPool();
    return async (_request, response) => {
      response.end(String(await pool.run({}))); // leaks here
    };
  },

  fixed: () => {
    const pool = newPool();
    return async (_request, response) => {
      response.end(String(await pool.run({}, { signal: signalOf(response) })));
    };
  },
} satisfies LabCase;
