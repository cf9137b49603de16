// While the main loop is blocked the agent answers, and afterwards nothing of its looking is left in the program.
import { execFile } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '../../harness/wait-for.js';
import { ask, startProgram } from './program.js';
import type { Program } from './program.js';

/** Line 7 is the loop. It ends when the test has seen what it wants: the test makes the file. */
const SOURCE = `import { createServer } from 'node:http';
import { existsSync, readFileSync } from 'node:fs';


function spin() {
  let turns = 0;
  while (!existsSync('stop')) {
    turns += 1;
  }
  return turns;
}

createServer((request, response) => {
  if (request.url === '/spin') spin();
  if (request.url === '/native') readFileSync('pipe');
  response.end('served');
}).listen(0, function () {
  console.log(this.address().port);
});
`;

let program: Program;
let port: string;

/** Resolves with the body; not awaited while the loop is blocked. */
async function visit(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get(`http://127.0.0.1:${port}${path}`, { agent: false }, (response) => {
      let body = '';
      response.on('data', (chunk: Buffer) => (body += chunk.toString()));
      response.once('end', () => resolve(body));
    }).once('error', reject);
  });
}

interface StackReport {
  readonly state: string;
  readonly frames: { readonly file: string; readonly line: number; readonly functionName: string }[];
}

async function stack(): Promise<StackReport> {
  const { status, text } = await ask(program.socketPath, '/debug/stack?format=json');
  expect(status, text).toBe(200);
  return JSON.parse(text) as StackReport;
}

beforeAll(async () => {
  program = await startProgram(SOURCE);
  port = await waitFor(() => program.output().trim() || undefined, { what: 'the port' });
});

describe('a loop that is blocked in JavaScript', () => {
  test('is answered with the function and the line, and goes on as before', async () => {
    const served = visit('/spin');
    const report = await waitFor(
      async () => {
        const seen = await stack();
        return seen.state === 'blocked' ? seen : undefined;
      },
      { what: 'the blocked stack' },
    );
    const own = report.frames.filter(({ file }) => file.endsWith('app.mjs'));
    expect(own[0]?.functionName).toBe('spin');
    expect([7, 8, 9]).toContain(own[0]?.line);
    expect(own[0]?.file).toBe(`${program.folder}/app.mjs`);
    expect(own[1]?.line).toBe(14);

    const profile = await ask(program.socketPath, '/debug/profile?seconds=0.2&format=json');
    expect(profile.text).toContain('app.mjs');
    const loop = JSON.parse((await ask(program.socketPath, '/debug/eventloop?format=json')).text) as {
      blocked: boolean;
    };
    expect(loop.blocked).toBe(true);

    await writeFile(`${program.folder}/stop`, '');
    expect(await served).toBe('served');
    await rm(`${program.folder}/stop`);
    expect(await visit('/')).toBe('served');
  });
});

describe('a loop that turns', () => {
  test('is not left with a pause that would stop the next request', async () => {
    for (const round of [1, 2, 3]) {
      const { state } = await stack();
      expect(['idle', 'running']).toContain(state);
      expect(await visit('/'), `round ${round}`).toBe('served');
    }
  });
});

/** Opening a named pipe to read it blocks until somebody opens it to write. */
describe('a main thread in native code', () => {
  test('is told apart, and the pause that it could not take does not stop it later', async () => {
    const pipe = `${program.folder}/pipe`;
    await promisify(execFile)('mkfifo', [pipe]);
    const served = visit('/native');
    await waitFor(async () => (await stack()).state === 'native', { what: 'the native state' });
    await writeFile(pipe, '');
    expect(await served).toBe('served');
    expect(await visit('/')).toBe('served');
    expect(['idle', 'running']).toContain((await stack()).state);
  });
});
