// What is live in a program, told by line, as text, JSON and pprof; and through the proxy that gathers many processes.
import { Agent, createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { askDebug, listDebugSockets, proxyDebug } from '../../../diagnostics/endpoints/proxy.js';
import type { LeakReport, RecorderSnapshot, TraceResult } from '../../../diagnostics/model.js';
import { atEndOfFile } from '../../harness/cleanup.js';
import { waitFor } from '../../harness/wait-for.js';
import { ask, startProgram } from '../agent/program.js';
import type { Program } from '../agent/program.js';
import { decode, valueOf } from './pprof-samples.js';

const HUNDRED = 100;
/** Line 4 makes a hundred promises that stay pending, line 8 twenty timers of an hour, line 13 more promises than are recorded. */
const SOURCE = `import { createServer } from 'node:net';
const kept = [];
function waitForEver() {
  kept.push(new Promise(() => {}));
}
for (let i = 0; i < ${HUNDRED}; i++) waitForEver();
function remind() {
  setTimeout(() => {}, 3_600_000).unref();
}
for (let i = 0; i < 20; i++) remind();
createServer().listen(0, '127.0.0.1');
setInterval(async function tick() { await new Promise((resolve) => setTimeout(resolve, 5)); }, 20);
for (let i = 0; i < 5_000; i++) kept.push(new Promise(() => {}));
`;

let program: Program;
beforeAll(async () => {
  program = await startProgram(SOURCE);
});

const place = (line: number): string => `${program.folder}/app.mjs:${line}`;

describe('live resources', () => {
  test('are grouped by the line that made them', async () => {
    const promises = await waitFor(
      async () => {
        const { text } = await ask(program.socketPath, '/debug/promises');
        return text.includes(place(4)) ? text : undefined;
      },
      { what: 'the pending promises' },
    );
    expect(promises).toMatch(/^100 PROMISE \(promise\)/m);
    const [, line13 = ''] = promises.split(/\n\n(?=.*\n {4}at .*app\.mjs:13:)/);
    expect(line13).toMatch(/^\d+ PROMISE \(promise\), estimated from \d+, /);
    const timers = (await ask(program.socketPath, '/debug/timers')).text;
    expect(timers).toMatch(/^20 Timeout \(timer\).*delayMs 3600000/m);
    expect(timers).toContain(place(8));
    expect(timers).not.toContain(place(4));
  });

  test('are listed one by one with their ages on request', async () => {
    const { text } = await ask(program.socketPath, '/debug/timers?debug=2');
    const [, remind = ''] = text.split(/\n\n(?=.*\n {4}at remind )/);
    const [, each = ''] = /^ {4}each: (.*)$/m.exec(remind) ?? [];
    expect(each.split(', ')).toHaveLength(20);
    const json = (await ask(program.socketPath, '/debug/promises?debug=2&format=json')).text;
    const sampled = (JSON.parse(json) as RecorderSnapshot).sites.find(({ stack }) => stack[0]?.line === 13);
    expect(sampled?.each).toHaveLength(sampled?.sampled ?? 0);
    expect(sampled?.each?.reduce((sum, { weight }) => sum + weight, 0)).toBe(sampled?.live);
    expect((await ask(program.socketPath, '/debug/timers')).text).not.toContain('each: ');
  });

  test('are told in JSON with what the recorder itself holds', async () => {
    const snapshot = JSON.parse((await ask(program.socketPath, '/debug/async?format=json')).text) as RecorderSnapshot;
    const site = snapshot.sites.find(({ stack }) => stack[0]?.line === 4);
    expect(site).toMatchObject({ kind: 'promise', live: HUNDRED });
    expect(site?.stack[0]?.functionName).toBe('waitForEver');
    expect(snapshot.own.entries).toBeLessThanOrEqual(snapshot.own.entriesMax);
  });

  test("are the program's, and none of the agent that is just answering", async () => {
    const { text } = await ask(program.socketPath, '/debug/async?debug=2');
    expect(text).toContain(place(4));
    expect(text).not.toContain('/diagnostics/agent/');
  });

  test('are a pprof profile with kind and age as labels', async () => {
    const { samples, type } = decode((await ask(program.socketPath, '/debug/pprof/async')).body);
    expect(type).toBe('live');
    expect(valueOf(samples, 'waitForEver')).toBe(HUNDRED);
    const sample = samples.find(({ stack }) => stack[0] === `waitForEver ${place(4)}`);
    expect(sample?.labels).toMatchObject({ kind: 'promise', type: 'PROMISE' });
    expect(sample?.labels['age']).toMatch(/^\d\d /);
    expect((await ask(program.socketPath, '/debug/pprof/async?debug=1')).text).toContain('waitForEver');
  });

  test('that keep the process alive are listed with their addresses', async () => {
    const { text } = await ask(program.socketPath, '/debug/handles');
    expect(text).toMatch(/^Server fd \d+ listens 127\.0\.0\.1:\d+$/m);
  });
});

describe('/debug/leaks', () => {
  test('says clean of a program that has done nothing wrong for long enough', async () => {
    const report = JSON.parse((await ask(program.socketPath, '/debug/leaks')).text) as LeakReport;
    expect(report.verdict).toBe('clean');
    expect(report.sites).toEqual([]);
    expect((await ask(program.socketPath, '/debug/leaks?format=text')).text).toMatch(/^clean/);
  });
});

describe('POST /debug/trace', () => {
  test('records a window with stacks, and ends', async () => {
    const answer = await ask(program.socketPath, '/debug/trace?seconds=0.5&mode=promises', { method: 'POST' });
    expect(answer.status, answer.text).toBe(200);
    const result = JSON.parse(answer.text) as TraceResult;
    expect(result.mode).toBe('promises');
    expect(answer.text).not.toContain('/diagnostics/agent/');
    expect(result.entries.some(({ stack }) => stack.some(({ functionName }) => functionName === 'tick'))).toBe(true);
    const snapshot = (await askDebug(program.socketPath, '/debug/async?format=json')) as RecorderSnapshot;
    expect(snapshot.mode).toBe('always-on');
  });

  test('tells on behalf of which request, also of a connection that was there before', async () => {
    const server = await startProgram(`import { createServer } from 'node:http';
createServer(async (request, response) => {
  await null;
  setTimeout(() => response.end(), 1);
}).listen(0, '127.0.0.1', function () { console.log(this.address().port); });
`);
    const port = await waitFor(() => server.output().trim() || undefined, { what: 'the port' });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const visit = (): Promise<void> =>
      new Promise((resolve, reject) => {
        get({ port, host: '127.0.0.1', path: '/cart?token=secret', agent }, (response) => {
          response.resume().once('end', resolve);
        }).once('error', reject);
      });
    await visit();
    let isOver = false;
    const traced = ask(server.socketPath, '/debug/trace?seconds=0.5', { method: 'POST' });
    const over = (): void => void (isOver = true);
    traced.then(over, over);
    while (!isOver) await visit();
    agent.destroy();
    const { text } = await traced;
    const made = (JSON.parse(text) as TraceResult).entries.filter(({ stack }) => stack[0]?.line === 4);
    const timers = made.filter(({ type }) => type === 'Timeout');
    expect(new Set(timers.map(({ request }) => request))).toEqual(new Set(['GET /cart']));
    // What the timer's function makes is made for the same.
    expect(made.some(({ type, request }) => type === 'TickObject' && request === 'GET /cart')).toBe(true);
    expect(text).not.toContain('secret');
  });

  test('is no GET, and refuses what it does not know', async () => {
    expect((await ask(program.socketPath, '/debug/trace')).status).toBe(405);
    const unknown = await ask(program.socketPath, '/debug/trace?mode=everything', { method: 'POST' });
    expect([unknown.status, unknown.text]).toEqual([
      400,
      'invalid_query: mode is one of all, promises, without-promises\n',
    ]);
  });
});

describe('the proxy', () => {
  test('finds the sockets of a folder and passes requests on', async () => {
    const sockets = await listDebugSockets(path.dirname(program.socketPath));
    expect(sockets).toEqual([{ name: String(program.child.pid), socketPath: program.socketPath }]);
    expect(await listDebugSockets('/nowhere/at/all')).toEqual([]);
    const port = await startProxy(program.socketPath);
    const response = await fetch(`http://127.0.0.1:${port}/debug/gc`);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toContain('text/plain');
    expect(await response.text()).toContain('collection');
  });

  test('answers 502 for a process that is gone and 504 for one that hangs', async () => {
    const gone = await startProxy(path.join(program.folder, 'nobody.sock'));
    const response = await fetch(`http://127.0.0.1:${gone}/debug/gc`);
    expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([502, 'agent_unreachable']);

    const silentPath = path.join(program.folder, 'silent.sock');
    const silent = createServer(() => undefined).listen(silentPath);
    atEndOfFile(async () => {
      silent.closeAllConnections();
      await new Promise((resolve) => silent.close(resolve));
    });
    const port = await startProxy(silentPath, 200);
    const late = await fetch(`http://127.0.0.1:${port}/debug/gc`);
    expect([late.status, ((await late.json()) as { code: string }).code]).toEqual([504, 'agent_silent']);
    await expect(askDebug(silentPath, '/debug/gc', 200)).rejects.toThrow('did not answer within 200 ms');
  });
});

async function startProxy(socketPath: string, timeoutMs = 10_000): Promise<number> {
  const server = createServer((request, response) => {
    const options = { target: request.url ?? '/', prefix: '/debug/workers/one', timeoutMs };
    proxyDebug(socketPath, request, response, options).catch((error: unknown) => response.destroy(error as Error));
  }).listen(0, '127.0.0.1');
  atEndOfFile(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  await new Promise((resolve) => server.once('listening', resolve));
  return (server.address() as AddressInfo).port;
}
