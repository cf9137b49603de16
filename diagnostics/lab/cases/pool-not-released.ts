import { setTimeout as sleep } from 'node:timers/promises';
import type { LabCase } from '../case.js';
import { signalOf } from '../case.js';

class Pool {
  #free = 10;
  readonly #waiting = new Set<() => void>();

  async acquire(signal?: AbortSignal): Promise<void> {
    while (this.#free === 0) {
      // leaks here
      await new Promise<void>((resolve, reject) => {
        this.#waiting.add(resolve);
        signal?.addEventListener('abort', () => {
          this.#waiting.delete(resolve);
          reject(new Error('the client is gone'));
        });
      });
    }
    this.#free -= 1;
  }

  release(): void {
    this.#free += 1;
    for (const next of this.#waiting) {
      this.#waiting.delete(next);
      next();
      break;
    }
  }
}

export default {
  title: 'connection not given back to its pool: everybody waits',

  leaking: () => {
    const pool = new Pool();
    let asked = 0;
    return async (_request, response) => {
      await pool.acquire();
      await sleep(2);
      if (++asked % 10 === 0) throw new Error('the query failed');
      pool.release();
      response.end();
    };
  },

  fixed: () => {
    const pool = new Pool();
    let asked = 0;
    return async (_request, response) => {
      await pool.acquire(signalOf(response));
      try {
        await sleep(2);
        if (++asked % 10 === 0) throw new Error('the query failed');
        response.end();
      } finally {
        pool.release();
      }
    };
  },
} satisfies LabCase;
