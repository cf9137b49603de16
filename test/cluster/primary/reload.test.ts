// Rolling reload: new code in every place, one by one, and nobody outside notices.
import { get } from 'node:http';
import { describe, expect, it } from 'vitest';
import { findFreePort } from '../../../platform/embedded/free-port.js';
import { waitFor } from '../../harness/wait-for.js';
import { startInstance } from './instance.js';
import type { Instance } from './instance.js';

function eventsOf(instance: Instance, name: string): string[] {
  const pids = [...new Set(instance.lines.filter(({ actor }) => actor === name).map(({ pid }) => pid))];
  return instance.lines
    .filter(({ actor }) => actor === name)
    .map(({ pid, event }) => `${pids.indexOf(pid) === 0 ? 'old' : 'new'} ${event}`);
}

async function whenLogged(instance: Instance, text: string, times = 1): Promise<void> {
  await waitFor(() => instance.lines.filter(({ msg }) => msg === text).length >= times, {
    what: `"${text}" × ${times}`,
  });
}

describe('reload', () => {
  it('has the successor ready before the predecessor drains; the ledger drains first', async () => {
    const instance = await startInstance({ httpWorkers: 2 });
    await instance.whenAllReady();
    const before = new Set(instance.processes().map(({ pid }) => pid));
    instance.tell('reload');
    await whenLogged(instance, 'reload done');

    const sideBySide = ['old starting', 'old started', 'new starting', 'new started', 'old draining', 'old drained'];
    expect(eventsOf(instance, 'http-1')).toEqual(sideBySide);
    expect(eventsOf(instance, 'http-2')).toEqual(sideBySide);
    expect(eventsOf(instance, 'admin-1')).toEqual(sideBySide);
    const inTurn = ['old starting', 'old started', 'old draining', 'old drained', 'new starting', 'new started'];
    expect(eventsOf(instance, 'ledger-1')).toEqual(inTurn);

    const after = instance.processes().filter(({ role }) => role !== 'primary');
    expect(after.map(({ name }) => name)).toEqual(['http-1', 'http-2', 'ledger-1', 'admin-1']);
    expect(after.filter(({ pid }) => before.has(pid))).toEqual([]);
  });

  it.each([
    ['exits with a wrong configuration', { onStart: 'configuration' }],
    ['crashes', { onStart: 'crash' }],
  ] as const)('keeps the old worker when its successor %s, and goes no further', async (_what, failing) => {
    const instance = await startInstance({});
    await instance.whenAllReady();
    const before = instance.processes().map(({ pid }) => pid);
    await instance.plan({ http: failing });
    instance.tell('reload');
    await whenLogged(instance, 'reload ended early');

    // The admin process comes first and was replaced already.
    const admin = await instance.whenReady('admin-1');
    expect(before).not.toContain(admin.pid);
    const { pid } = await instance.whenReady('http-1');
    expect(before).toContain(pid);
    expect(before).toContain((await instance.whenReady('ledger-1')).pid);
  });

  it('keeps the old worker when its successor is not ready in time, and goes no further', async () => {
    const instance = await startInstance({ limits: { reloadReadyMs: 1_000 } });
    await instance.whenAllReady();
    const before = instance.processes();
    await instance.plan({ admin: { unreadyReasons: ['new_reason'] } });
    instance.tell('reload');
    await whenLogged(instance, 'reload ended early');
    await instance.whenAllReady();
    expect(instance.processes()).toEqual(before);
  });

  it('asked for during a reload is done once more afterwards', async () => {
    const instance = await startInstance({});
    await instance.whenAllReady();
    instance.tell('reload');
    await whenLogged(instance, 'reload begins');
    instance.tell('reload');
    instance.tell('reload');
    await whenLogged(instance, 'reload done', 2);
    instance.tell('stop');
    await instance.ended();
    expect(instance.lines.filter(({ msg }) => msg === 'reload begins')).toHaveLength(2);
    expect(instance.lines.filter(({ actor, event }) => actor === 'admin-1' && event === 'starting')).toHaveLength(3);
  });

  it('loses no connection, however many are opened meanwhile', async () => {
    const port = await findFreePort();
    const environment = { PORT: String(port) };
    const instance = await startInstance({ plans: { http: { listens: true } }, httpWorkers: 2, environment });
    await instance.whenAllReady();
    const load = startLoad(port);
    for (let round = 1; round <= 2; round++) {
      instance.tell('reload');
      await whenLogged(instance, 'reload done', round);
    }
    const { answeredBy, failures } = await load.stop();
    expect(failures).toEqual([]);
    // Two workers, and two generations after the first: the load did meet the reloads.
    expect(answeredBy.size).toBeGreaterThan(2);
  });
});

/** Sixteen clients, each with a new connection per request, until `stop()`. */
function startLoad(port: number): { stop(): Promise<{ answeredBy: Set<string>; failures: string[] }> } {
  const answeredBy = new Set<string>();
  const failures: string[] = [];
  let going = true;
  const client = async (): Promise<void> => {
    while (going) {
      try {
        answeredBy.add(await getOnce(port));
      } catch (error) {
        failures.push(String(error));
      }
    }
  };
  const clients = Promise.all(Array.from({ length: 16 }, client));
  return {
    async stop() {
      going = false;
      await clients;
      return { answeredBy, failures };
    },
  };
}

function getOnce(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get({ host: '127.0.0.1', port, agent: false, timeout: 10_000 }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () => resolve(body)).on('error', reject);
    });
    request.on('timeout', () => request.destroy(new Error('no answer for 10 s'))).on('error', reject);
  });
}
