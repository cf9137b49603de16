// The ordered end: who drains when, and what happens to those who do not.
import { describe, expect, it } from 'vitest';
import { EXIT } from '../../../cluster/exit-codes.js';
import { processesBelow } from '../../harness/left-behind.js';
import { waitFor } from '../../harness/wait-for.js';
import { startInstance } from './instance.js';
import type { Instance } from './instance.js';

/** `http-1 draining`, `http-1 drained`, … in the order in which it happened. */
function drainEvents(instance: Instance): string[] {
  return instance.lines
    .filter(({ event }) => event === 'draining' || event === 'drained')
    .map(({ actor, event }) => `${actor} ${event}`);
}

describe('stop', () => {
  it('drains all http workers together, then the ledger, then admin', async () => {
    const slow = { drainMs: 300 };
    const instance = await startInstance({ httpWorkers: 2, plans: { http: slow, ledger: slow, admin: slow } });
    await instance.whenAllReady();
    instance.tell('stop');
    expect(await instance.ended()).toEqual({ code: EXIT.ok });

    const events = drainEvents(instance);
    expect(events.slice(0, 2).toSorted()).toEqual(['http-1 draining', 'http-2 draining']);
    expect(events.slice(2, 4).toSorted()).toEqual(['http-1 drained', 'http-2 drained']);
    expect(events.slice(4)).toEqual(['ledger-1 draining', 'ledger-1 drained', 'admin-1 draining', 'admin-1 drained']);
    expect(await processesBelow(instance.folder)).toEqual([]);
  });

  it('reaches workers that are just being born', async () => {
    const instance = await startInstance({ httpWorkers: 2 });
    await waitFor(() => instance.processes().length === 5, { what: 'the forks' });
    instance.tell('stop');
    expect(await instance.ended()).toEqual({ code: EXIT.ok });
  });

  it('kills a worker that does not drain in time, drains the others, and says so', async () => {
    const instance = await startInstance({ drainTimeoutMs: 1_000, plans: { ledger: { drainMs: 600_000 } } });
    await instance.whenAllReady();
    instance.tell('stop');
    expect((await instance.ended()).code).toBe(EXIT.drainIncomplete);
    expect(drainEvents(instance).slice(-3)).toEqual(['ledger-1 draining', 'admin-1 draining', 'admin-1 drained']);
  });

  it('lets a worker that does not drain in time log what it holds, before it is killed', async () => {
    const instance = await startInstance({
      drainTimeoutMs: 1_500,
      plans: { ledger: { drainMs: 600_000 } },
      environment: { DIAGNOSTICS: 'on' },
    });
    await instance.whenAllReady();
    instance.tell('stop');
    expect((await instance.ended()).code).toBe(EXIT.drainIncomplete);
    const { live } = instance.lines.find(({ msg }) => msg?.startsWith('still draining at the deadline')) ?? {};
    expect(live?.sites).toEqual(
      expect.arrayContaining([expect.stringMatching(/^1 timers\/promises .* at drain \(.*test-actors\.mjs:\d+:/)]),
    );
    expect(live?.active).toMatchObject({ Timeout: expect.any(Number) as number });
  });

  it('restarts nobody who dies meanwhile, and does not call that complete', async () => {
    const instance = await startInstance({ plans: { http: { drainMs: 600_000 } }, limits: { backoffMaxMs: 0 } });
    await instance.whenAllReady();
    const ledger = await instance.whenReady('ledger-1');
    const http = await instance.whenReady('http-1');
    instance.tell('stop');
    await waitFor(() => drainEvents(instance).includes('http-1 draining'), { what: 'the drain' });
    process.kill(ledger.pid, 'SIGKILL');
    await waitFor(() => instance.lines.some(({ msg, worker }) => msg === 'worker exited' && worker === 'ledger-1'), {
      what: 'the death of the ledger',
    });
    process.kill(http.pid, 'SIGKILL');
    expect((await instance.ended()).code).toBe(EXIT.drainIncomplete);
    expect(instance.lines.filter(({ actor, event }) => actor === 'ledger-1' && event === 'starting')).toHaveLength(1);
  });
});

describe('hurry', () => {
  it('kills what still drains and ends with a code of its own', async () => {
    const instance = await startInstance({ plans: { http: { drainMs: 600_000 } }, drainTimeoutMs: 600_000 });
    await instance.whenAllReady();
    instance.tell('stop');
    await waitFor(() => drainEvents(instance).includes('http-1 draining'), { what: 'the drain' });
    instance.tell('hurry');
    expect(await instance.ended()).toEqual({ code: EXIT.hurried });
    expect(await processesBelow(instance.folder)).toEqual([]);
  });
});
