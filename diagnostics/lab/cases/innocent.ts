import { setTimeout as sleep } from 'node:timers/promises';
import { createServer, get, Agent } from 'node:http';
import type { LabCase } from '../case.js';
import { listen } from '../case.js';

const port = await listen(createServer((_request, response) => response.end('ok')));
const CACHE_MAX = 100;
const ENTRY_MS = 3_600_000;

export default {
  title: 'a pool, a cache that fills, a heartbeat, slow work, losers that settle',

  fixed: () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 10 });
    const cache = new Map<string, NodeJS.Timeout>();
    setInterval(() => cache.size, 100).unref();
    return async (_request, response) => {
      const key = String(Math.floor(Math.random() * 10_000));
      if (cache.size >= CACHE_MAX) {
        const [oldest, expiry] = [...cache][0] ?? [];
        clearTimeout(expiry);
        cache.delete(oldest ?? '');
      }
      clearTimeout(cache.get(key));
      cache.set(
        key,
        setTimeout(() => cache.delete(key), ENTRY_MS),
      );
      const asked = new Promise<void>((resolve, reject) => {
        get({ port, agent }, (answer) => answer.resume().once('end', resolve)).once('error', reject);
      });
      await Promise.race([asked, sleep(300)]);
      // Now and then something takes long, and ends.
      await sleep(Math.random() < 0.05 ? 1_000 : 1);
      response.end();
    };
  },
} satisfies LabCase;
