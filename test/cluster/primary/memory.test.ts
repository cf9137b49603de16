// The memory limit of workers: one that stays above it is replaced, gracefully and alone, and what it holds is saved first.
import { describe, expect, it } from 'vitest';
import { MemoryWatch } from '../../../cluster/primary/memory-watch.js';
import { waitFor } from '../../harness/wait-for.js';
import { startInstance } from './instance.js';

const QUICK = { heartbeatIntervalMs: 50, heartbeatMissesMax: 1_000, memoryPongsMin: 3, memoryPauseMs: 200 };

describe('a worker above WORKER_MEMORY_MAX_MB', () => {
  it('is replaced with its successor ready first, after its heap profile was saved; the others stay', async () => {
    const instance = await startInstance({
      plans: { http: { holdsMb: 200 } },
      limits: QUICK,
      workerMemoryMaxMb: 200,
    });
    const heavy = await instance.whenReady('http-1');
    await instance.whenAllReady();
    const before = instance.processes();
    await instance.plan({});

    const light = await instance.whenReady('http-1', heavy.pid);
    const eventsOfPlace = () =>
      instance.lines.filter(({ actor }) => actor === 'http-1').map(({ pid, event }) => [pid, event]);
    await waitFor(() => eventsOfPlace().some(([pid, event]) => pid === heavy.pid && event === 'drained'), {
      what: 'the heavy worker to drain',
    });
    await instance.whenAllReady();
    const [first] = eventsOfPlace().slice(3, 4);
    expect(eventsOfPlace().slice(0, 7)).toEqual([
      [heavy.pid, 'starting'],
      [heavy.pid, 'started'],
      [instance.process.pid, 'profile'],
      [first?.[0], 'starting'],
      [first?.[0], 'started'],
      [heavy.pid, 'draining'],
      [heavy.pid, 'drained'],
    ]);
    expect(light.restarts).toBe(0);
    const others = (list: typeof before) => list.filter(({ name }) => name !== 'http-1').map(({ pid }) => pid);
    expect(others(instance.processes())).toEqual(others(before));
    expect(instance.lines).toContainEqual(expect.objectContaining({ worker: 'http-1', profile: 'profile of http-1' }));
  });
});

describe('the watch', () => {
  const limits = { bytesMax: 100, timesMin: 3, pauseMs: 0 };
  const heavyAfter = (sizes: number[], more: Partial<typeof limits> | { bytesMax: undefined } = {}): number => {
    let times = 0;
    const watch = new MemoryWatch({ ...limits, ...more }, () => (times += 1));
    for (const size of sizes) watch.heard(size);
    return times;
  };

  it('wants the limit exceeded several times in a row', () => {
    expect(heavyAfter([101, 101, 100, 101, 101])).toBe(0);
    expect(heavyAfter([101, 101, 101])).toBe(1);
    expect(heavyAfter([101, 101, 101, 101, 101])).toBe(1);
  });

  it('says nothing without a limit, nor during the pause', () => {
    expect(heavyAfter([1e12, 1e12, 1e12], { bytesMax: undefined })).toBe(0);
    expect(heavyAfter(Array<number>(20).fill(101), { pauseMs: 600_000 })).toBe(0);
  });
});
