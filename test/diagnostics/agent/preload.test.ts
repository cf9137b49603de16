// The register preload in a plain program: it gives the socket, and changes nothing of how the program lives and ends.
import { spawn } from 'node:child_process';
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { makeScratchFolder } from '../../harness/scratch.js';
import { waitFor } from '../../harness/wait-for.js';
import { ask, makeProgram, PRELOAD, runProgram, startProgram } from './program.js';

const PERMISSIONS = 0o777;

describe('the socket', () => {
  test('is 0600 in a folder of 0700, and gone when the program ends by itself', async () => {
    const { child, socketPath } = await startProgram(`
      process.umask(0);
      process.once('SIGTERM', () => process.exit(7));
      setInterval(() => {}, 1000);
    `);
    expect((await stat(socketPath)).mode & PERMISSIONS).toBe(0o600);
    expect((await stat(path.dirname(socketPath))).mode & PERMISSIONS).toBe(0o700);
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    expect(await exited).toBe(7);
    expect(await readdir(path.dirname(socketPath))).toEqual([]);
  });

  test('of a killed program is swept away by the next one', async () => {
    const dead = await startProgram('setInterval(() => {}, 1000);');
    const exited = new Promise((resolve) => dead.child.once('exit', resolve));
    dead.child.kill('SIGKILL');
    await exited;
    const folder = path.dirname(dead.socketPath);
    expect(await readdir(folder)).toEqual([path.basename(dead.socketPath)]);
    await writeFile(
      path.join(dead.folder, 'app.mjs'),
      `import { readdirSync } from 'node:fs';
       import { startDiagnostics } from 'stampede/diagnostics';
       await startDiagnostics().listening();
       console.log(readdirSync('.stampede/run').join() === process.pid + '.sock');`,
    );
    expect((await runProgram(dead.folder)).stdout).toBe('true\n');
  });

  test('is named by the variable, and children add a suffix', async () => {
    const run = path.join(await makeScratchFolder('run'), 'own');
    const folder = await makeProgram(`
      import { fork } from 'node:child_process';
      import { startDiagnostics } from 'stampede/diagnostics';
      console.log(await startDiagnostics().listening());
      if (process.argv[2] === undefined) fork('app.mjs', ['child']);
      else console.log(process.pid);
    `);
    const { stdout } = await runProgram(folder, { STAMPEDE_DEBUG_SOCKET: path.join(run, 'app.sock') });
    const [parent, child, pid] = stdout.trim().split('\n');
    expect(parent).toBe(path.join(run, 'app.sock'));
    expect(child).toBe(path.join(run, `app.${String(pid)}.sock`));
  });

  test('is refused in a folder that is open to others, and the program runs on', async () => {
    const open = path.join(await makeScratchFolder('run'), 'open');
    await mkdir(open, { mode: 0o755 });
    const folder = await makeProgram(`
      import { startDiagnostics } from 'stampede/diagnostics';
      console.log(await startDiagnostics().listening());
    `);
    const { stdout, stderr } = await runProgram(folder, { STAMPEDE_DEBUG_SOCKET: path.join(open, 'app.sock') });
    expect(stdout).toBe('undefined\n');
    expect(stderr).toContain('its mode must be 0700');
    expect((await stat(open)).mode & PERMISSIONS).toBe(0o755);
  });

  test('that code has named is taken over by a replacement, and not removed by the one it replaces', async () => {
    const folder = await makeProgram(`
      import { startDiagnostics } from 'stampede/diagnostics';
      import { get } from 'node:http';
      import { fork } from 'node:child_process';
      await startDiagnostics().stop();
      const socketPath = await startDiagnostics({ name: process.argv[2] ?? 'old', socketPath: 'run/http-1.sock' }).listening();
      const ask = () => get({ socketPath, path: '/debug', agent: false }, async (answer) => {
        answer.setEncoding('utf8').once('data', (page) => console.log(page.split(',')[0]));
        answer.once('end', () => { if (process.argv[2] !== undefined) process.exit(); });
      });
      if (process.argv[2] === undefined) {
        fork('app.mjs', ['new'], { detached: true }).once('message', (message, handle) => process.exit());
      } else {
        process.once('disconnect', ask);
        process.send('ready');
      }
    `);
    expect((await runProgram(folder)).stdout).toBe('new\n');
    expect(await readdir(path.join(folder, 'run'))).toEqual([]);
  });

  test('with a path that is too long is refused with the numbers', async () => {
    const folder = await makeProgram(`
      import { startDiagnostics } from 'stampede/diagnostics';
      console.log(await startDiagnostics().listening());
    `);
    const { stderr } = await runProgram(folder, { STAMPEDE_DEBUG_SOCKET: path.join(folder, 'x'.repeat(100)) });
    expect(stderr).toMatch(/has \d+ bytes, a socket's path at most 100/);
  });
});

describe('a program with the preload', () => {
  test('ends when it has nothing more to do, with its own exit code', async () => {
    const folder = await makeProgram('process.exitCode = 3; console.log("done");');
    await expect(runProgram(folder)).rejects.toMatchObject({ code: 3, stdout: 'done\n', stderr: '' });
  });

  test('ends by process.exit in the middle of everything', async () => {
    const folder = await makeProgram('setInterval(() => {}, 1000); setImmediate(() => process.exit(5));');
    await expect(runProgram(folder)).rejects.toMatchObject({ code: 5 });
  });

  test('dies of its uncaught errors', async () => {
    const folder = await makeProgram('setTimeout(() => { throw new Error("mine"); }, 10);');
    await expect(runProgram(folder)).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('mine') as string,
    });
  });

  test('dies of a signal that it does not handle', async () => {
    const { child } = await startProgram('setInterval(() => {}, 1000);');
    const ended = new Promise((resolve) => child.once('exit', (_code, signal) => resolve(signal)));
    child.kill('SIGINT');
    expect(await ended).toBe('SIGINT');
  });

  test('can stop its agent and start it again', async () => {
    const folder = await makeProgram(`
      import { existsSync } from 'node:fs';
      import { startDiagnostics } from 'stampede/diagnostics';
      const first = await startDiagnostics().listening();
      await startDiagnostics().stop();
      console.log(existsSync(first));
      const again = startDiagnostics();
      console.log(again === startDiagnostics(), (await again.listening()) === first);
    `);
    expect((await runProgram(folder)).stdout).toBe('false\ntrue true\n');
  });

  test('shows neither its environment nor its arguments', async () => {
    const folder = await makeProgram('setInterval(() => {}, 1000);');
    const child = spawn(process.execPath, [...PRELOAD, 'app.mjs', '--password=tell-nobody'], {
      cwd: folder,
      env: { ...process.env, API_KEY: 'tell-nobody' },
      stdio: 'ignore',
    });
    const socketPath = path.join(folder, '.stampede', 'run', `${String(child.pid)}.sock`);
    const pages = ['/debug/stack', '/debug/eventloop?format=json', '/debug/gc?format=json'];
    try {
      for (const page of pages) {
        const { text } = await waitFor(async () => ask(socketPath, page), { what: page });
        expect(text).not.toContain('tell-nobody');
        expect(text.length).toBeGreaterThan(10);
      }
    } finally {
      child.kill('SIGKILL');
    }
  });
});
