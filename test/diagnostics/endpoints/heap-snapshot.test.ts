// Heap snapshots: complete where there is room, refused with the numbers where there is not, gone from the disk afterwards.
import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { request } from 'node:http';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { Busy, HeavyGate } from '../../../diagnostics/agent/heavy-gate.js';
import { lackOfRoom, readRoom } from '../../../diagnostics/agent/room.js';
import type { AgentParts } from '../../../diagnostics/endpoints/debug-request.js';
import { heapSnapshotWith } from '../../../diagnostics/endpoints/heap-snapshot.js';
import { waitFor } from '../../harness/wait-for.js';
import { atEndOfFile } from '../../harness/cleanup.js';
import { ask, endProgram, makeProgram, startProgram } from '../agent/program.js';

const MIB = 1024 * 1024;
const SOURCE = `class Basket {}
globalThis.kept = Array.from({ length: 1000 }, () => new Basket());
setInterval(() => {}, 1000);
`;

interface Snapshot {
  readonly snapshot: { readonly node_count: number };
  readonly strings: readonly string[];
}

describe('/debug/heap/snapshot', () => {
  test('is a whole snapshot, and leaves no file', async () => {
    const { socketPath } = await startProgram(SOURCE);
    const { status, headers, body, text } = await ask(socketPath, '/debug/heap/snapshot');
    expect(status, text.slice(0, 200)).toBe(200);
    expect(headers['content-disposition']).toMatch(/filename="app\.mjs-\d+-.*\.heapsnapshot"/);
    expect(Number(headers['content-length'])).toBe(body.length);
    const snapshot = JSON.parse(text) as Snapshot;
    expect(snapshot.strings).toContain('Basket');
    expect(snapshot.snapshot.node_count).toBeGreaterThan(1000);
    expect(await readdir(path.dirname(socketPath))).toEqual([path.basename(socketPath)]);
  });

  test('of a client that goes away ends, and the next one is served', async () => {
    const { socketPath } = await startProgram(SOURCE);
    await new Promise<void>((resolve) => {
      const sent = request({ socketPath, path: '/debug/heap/snapshot', agent: false }, (response) => {
        response.once('data', () => sent.destroy());
      });
      sent.once('error', () => undefined);
      sent.once('close', () => resolve());
      sent.end();
    });
    const served = await waitFor(
      async () => {
        const answer = await ask(socketPath, '/debug/heap/snapshot');
        return answer.status === 200 ? answer : undefined;
      },
      { what: 'a snapshot after the one that was left' },
    );
    expect((JSON.parse(served.text) as Snapshot).strings).toContain('Basket');
    expect(await readdir(path.dirname(socketPath))).toEqual([path.basename(socketPath)]);
  });
});

/** A program of its own that is listened to until the end of the file, with what it has printed so far. */
async function startListened(source: string) {
  const folder = await makeProgram(source);
  const child = spawn(process.execPath, ['app.mjs'], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
  atEndOfFile(() => endProgram(child));
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  return { child, output: () => output };
}

test('of the processes of one folder one after the other: nobody leaves work to one that has left it, too', async () => {
  const source = `import { fork } from 'node:child_process';
import { startDiagnostics } from 'stampede/diagnostics';
const rest = () => {
  console.log('rests');
  return new Promise((resolve) => process.once('message', () => resolve(async () => {})));
};
const socketPath = await startDiagnostics({ rest, socketPath: 'run/' + (process.argv[2] ?? 'a') + '.sock' }).listening();
if (process.argv[2] === undefined) {
  const other = fork('app.mjs', ['b']).once('message', (path) => console.log(socketPath + ' ' + path));
  process.once('SIGUSR2', () => { process.emit('message'); other.send('go on'); });
} else {
  process.once('disconnect', () => process.exit());
  process.send(socketPath);
}
setInterval(() => {}, 1000);
`;
  const { child, output } = await startListened(source);
  await waitFor(() => output().endsWith('\n'), { what: 'both sockets' });
  const [a = '', b = ''] = output().trim().split(' ');
  const first = ask(a, '/debug/heap/snapshot');
  // It rests until it is told to go on.
  await waitFor(() => output().includes('rests'), { what: 'the first one to begin' });
  const refused = await ask(b, '/debug/heap/snapshot');
  expect([refused.status, refused.headers['retry-after']]).toEqual([429, '30']);
  expect((await ask(b, '/debug/trace?seconds=0.1', { method: 'POST' })).status).toBe(429);
  child.kill('SIGUSR2');
  expect((await first).status).toBe(200);
  await waitFor(async () => (await ask(b, '/debug/trace?seconds=0.1', { method: 'POST' })).status === 200, {
    what: 'the turn of the second one',
  });
});

test('a program that can leave its work to others is asked to before, and takes it up again after', async () => {
  const source = `import { startDiagnostics } from 'stampede/diagnostics';
const rest = async () => { console.log('rests'); return async () => console.log('resumes'); };
const diagnostics = startDiagnostics({ rest });
console.log(await diagnostics.listening());
setInterval(() => {}, 1000);
`;
  const { output } = await startListened(source);
  await waitFor(() => output().includes('.sock'), { what: 'the socket' });
  const [socketPath = ''] = output().split('\n');
  const { status } = await ask(socketPath, '/debug/heap/snapshot');
  expect(status).toBe(200);
  await waitFor(() => output().includes('resumes'), { what: 'the end of the rest' });
  expect(output()).toBe(`${socketPath}\nrests\nresumes\n`);
});

describe('the room for a snapshot', () => {
  test('is refused with the numbers when memory or disk is short', () => {
    const plenty = 10_000 * MIB;
    expect(lackOfRoom(100 * MIB, { memoryBytes: plenty, diskBytes: plenty })).toBeUndefined();
    expect(lackOfRoom(100 * MIB, { memoryBytes: 1_499 * MIB, diskBytes: plenty })).toBe(
      'a snapshot of 100 MiB of heap may need up to 1500 MiB of memory, 1499 MiB are free',
    );
    expect(lackOfRoom(100 * MIB, { memoryBytes: 10 * MIB, diskBytes: 20 * MIB })).toBe(
      'a snapshot of 100 MiB of heap may need up to 1500 MiB of memory, 10 MiB are free, and up to 500 MiB of disk, 20 MiB are free',
    );
  });

  test('is asked for before anything is done to the program', async () => {
    const endpoint = heapSnapshotWith({
      heapBytes: () => Promise.resolve(100 * MIB),
      roomIn: () => ({ memoryBytes: 200 * MIB, diskBytes: 9_000 * MIB }),
    });
    const request = { query: new URLSearchParams(), accept: '', gone: new AbortController().signal, prefix: '/debug' };
    const snapshots = new HeavyGate();
    const data = {
      socketPath: '/nowhere/1.sock',
      takesOver: false,
      name: 'app',
      pid: 1,
      nodeVersion: 'v20',
      startedAt: 0,
    };
    const parts = { data, gate: new HeavyGate(), snapshots } as unknown as AgentParts;
    await expect(endpoint(request, parts)).rejects.toMatchObject({
      status: 503,
      code: 'not_enough_memory',
      message: 'a snapshot of 100 MiB of heap may need up to 1500 MiB of memory, 200 MiB are free',
      headers: { 'retry-after': '60' },
    });
    // Both gates are open again.
    parts.gate.enter('the next one', 1_000)();
    snapshots.enter('the next one', 1_000)();
  });

  test('is read from this machine', () => {
    const room = readRoom('/');
    expect(room.memoryBytes).toBeGreaterThan(0);
    expect(room.diskBytes).toBeGreaterThan(0);
  });
});

describe('the gate of heavy operations', () => {
  test('lets one in, tells others when to come again, and opens after a failure', async () => {
    const gate = new HeavyGate();
    const leave = gate.enter('a profile', 5_000);
    await expect(gate.run('a trace', 1_000, () => Promise.resolve())).rejects.toSatisfy(
      (error) =>
        error instanceof Busy && error.retryAfterSeconds >= 4 && error.message.startsWith('a profile is running'),
    );
    leave();
    const failing = gate.run('a trace', 1_000, () => Promise.reject(new Error('broken')));
    await expect(failing).rejects.toThrow('broken');
    const next = gate.enter('a trace', 1_000);
    leave();
    expect(() => gate.enter('another', 1_000)).toThrow(Busy);
    next();
  });
});
