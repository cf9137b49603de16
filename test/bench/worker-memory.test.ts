import { expect, it } from 'vitest';
import { WORKER_MEMORY } from '../../bench/worker-memory.js';
import { measureShort, PART_TIMEOUT_MS } from './short-part.js';

it(
  'looks at the memory of a worker lap by lap, and finds every claim answered',
  { timeout: PART_TIMEOUT_MS },
  async () => {
    const { findings, problems, raw } = await measureShort(WORKER_MEMORY);
    expect(problems).toEqual([]);
    // A Node process that has done nothing takes more than 30 MB.
    expect(raw).toMatchObject([{ claims: 10_000 }, { claims: 20_000 }]);
    expect((raw as { samples: number[] }[]).map(({ samples }) => (samples[0] ?? 0) > 30e6)).toEqual([true, true]);
    expect(findings).toMatchObject([{ target: 'workerMemory', value: { median: expect.any(Number) as number } }]);
  },
);
