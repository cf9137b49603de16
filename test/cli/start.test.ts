// The command `start` as a program: its one line of error, its exit codes, its signals.
import { execFile } from 'node:child_process';
import type { ExecFileException } from 'node:child_process';
import { stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { EXIT } from '../../cluster/exit-codes.js';
import { findFreePort } from '../../platform/embedded/free-port.js';
import { packagePath } from '../../platform/package-root.js';
import { createTestDatabase } from '../harness/database.js';
import { processesBelow } from '../harness/left-behind.js';
import { makeScratchFolder } from '../harness/scratch.js';
import { startService } from '../harness/service.js';
import { waitFor } from '../harness/wait-for.js';

/** Nothing listens there: workers wait for their databases, which these tests do not need. */
const NO_DATABASES = { REDIS_URL: 'redis://127.0.0.1:1', MYSQL_URL: 'mysql://root@127.0.0.1:1/stampede' };

interface Run {
  readonly folder: string;
  readonly pid: number;
  output(): string;
  readonly ended: Promise<{ code: number | string | null | undefined; errors: string }>;
}

/** Runs `stampede start` in a folder of its own; whatever is left of it ends with the test. */
async function runStart(environment: Readonly<Record<string, string>>): Promise<Run> {
  const folder = await makeScratchFolder('start');
  const [port, adminPort] = [await findFreePort(), await findFreePort()];
  let output = '';
  const child = execFile(process.execPath, [packagePath('bin', 'stampede.js'), 'start'], {
    cwd: folder,
    env: {
      PATH: process.env['PATH'],
      PORT: String(port),
      ADMIN_PORT: String(adminPort),
      WEB_CONCURRENCY: '1',
      ...environment,
    },
  });
  let errors = '';
  child.stdout?.on('data', (text: string) => (output += text));
  child.stderr?.on('data', (text: string) => (errors += text));
  const ended = once(child, 'close').then(() => ({ code: child.exitCode, errors }));
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  if (child.pid === undefined) throw new Error('not started');
  return { folder, pid: child.pid, output: () => output + errors, ended };
}

describe('a start that cannot succeed', () => {
  it.each([
    ['PORT', { PORT: 'abc' }],
    ['WEB_CONCURRENCY', { WEB_CONCURRENCY: '0' }],
    ['REDIS_URL', { REDIS_URL: 'http://127.0.0.1' }],
    ['GATEWAY_TOKEN', { HOST: '0.0.0.0' }],
  ])('names %s in one line', async (variable, environment) => {
    const { code, errors } = await (await runStart(environment)).ended;
    expect(code).toBe(EXIT.configuration);
    expect(errors).toMatch(new RegExp(`^stampede: .*\\b${variable}\\b.*\\n$`));
  });

  it.each(['PORT', 'ADMIN_PORT'])('names %s when another program has the port', async (variable) => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    onTestFinished(() => void other.close());
    const { port } = other.address() as { port: number };
    const run = await runStart({ ...NO_DATABASES, [variable]: String(port) });
    const { code, errors } = await run.ended;
    expect(code).toBe(EXIT.configuration);
    const complaints = errors.split('\n').filter((line) => line.startsWith('stampede: '));
    expect(complaints).toHaveLength(1);
    expect(complaints[0]).toMatch(new RegExp(`\\b${variable}\\b.*${port}`));
    expect(await processesBelow(run.folder)).toEqual([]);
  });

  it('names STAMPEDE_DIR when it is no folder', async () => {
    const file = join(await makeScratchFolder('file'), 'file');
    await writeFile(file, '');
    const { code, errors } = await (await runStart({ ...NO_DATABASES, STAMPEDE_DIR: file })).ended;
    expect(code).toBe(EXIT.configuration);
    expect(errors).toMatch(/^stampede: STAMPEDE_DIR \(.*\n$/);
  });

  it('leaves a folder alone in which another start works', async () => {
    const first = await runStart(NO_DATABASES);
    await whenForked(first);
    const second = await runStart({ ...NO_DATABASES, STAMPEDE_DIR: join(first.folder, '.stampede') });
    const { code, errors } = await second.ended;
    expect(code).toBe(EXIT.configuration);
    expect(errors).toMatch(new RegExp(`^stampede: .*process ${first.pid}.*\\n$`));
  });
});

describe('a start whose databases are away', () => {
  it('waits, says what for, keeps its token and sockets to itself, and still ends in order', async () => {
    const run = await runStart(NO_DATABASES);
    await waitFor(() => /waiting for .*ledger-1 \(mysql_unavailable\)/.test(run.output()), {
      what: 'the waiting line',
    }).catch((error: unknown) => {
      throw new Error(`no waiting line in:\n${run.output()}`, { cause: error });
    });
    expect(run.output()).not.toContain('stampede ready');
    const modeOf = async (...path: string[]): Promise<number> =>
      (await stat(join(run.folder, '.stampede', ...path))).mode & 0o777;
    expect(await modeOf()).toBe(0o700);
    expect(await modeOf('run')).toBe(0o700);
    expect(await modeOf('admin-token')).toBe(0o600);

    process.kill(run.pid, 'SIGTERM');
    expect((await run.ended).code).toBe(EXIT.ok);
    expect(await processesBelow(run.folder)).toEqual([]);
  });

  it('takes the Ctrl-C that comes twice at once, from the terminal and from npm, for one', async () => {
    const run = await runStart(NO_DATABASES);
    await whenForked(run);
    process.kill(run.pid, 'SIGINT');
    process.kill(run.pid, 'SIGINT');
    process.kill(run.pid, 'SIGTERM');
    expect((await run.ended).code).toBe(EXIT.ok);
  });

  it('cuts the drain short at a second wish, and says so by its code', async () => {
    const run = await runStart({ ...NO_DATABASES, DRAIN_TIMEOUT_MS: '600000' });
    const http = await waitFor(() => /"worker":"http-1","workerPid":(\d+)/.exec(run.output())?.[1], {
      what: 'the http worker',
    });
    // Stopped, it never drains.
    process.kill(Number(http), 'SIGSTOP');
    const impatience = setInterval(() => process.kill(run.pid, 'SIGINT'), 100);
    const { code } = await run.ended.finally(() => clearInterval(impatience));
    expect(code).toBe(EXIT.hurried);
    expect(await processesBelow(run.folder)).toEqual([]);
  });

  it('is stopped by a signal that comes before its first worker', async () => {
    const run = await runStart({ ...NO_DATABASES, REDIS_URL: '' });
    await waitFor(() => run.output().includes('Starting Redis'), { what: 'the start of Redis' });
    process.kill(run.pid, 'SIGINT');
    expect((await run.ended).code).toBe(EXIT.ok);
    expect(run.output()).not.toContain('worker forked');
    expect(await processesBelow(run.folder)).toEqual([]);
  });
});

describe('a start that succeeds', () => {
  it('prints commands that work as they are: a first coupon, a first claim', async () => {
    const { url } = await createTestDatabase();
    // The token is made, not given, so that the printed command has to find it.
    const service = await startService({ MYSQL_URL: url, ADMIN_TOKEN: '', WEB_CONCURRENCY: '1' });
    const commands = service
      .output()
      .split('\n')
      .filter((line) => /^ {4}(curl| {2}-H)/.test(line))
      .join('\n');
    const { stdout } = await shell(commands, service.dir);
    expect(stdout).toMatch(/"couponId":"first","total":100/);
    expect(stdout).toMatch(/"status":"claimed","couponId":"first","userId":"alice","claimNo":1,.*"ack":"fsync"/);
    expect(await service.stop()).toEqual({ code: EXIT.ok, signal: null });
  });
});

async function whenForked(run: Run): Promise<void> {
  await waitFor(() => run.output().includes('"worker forked"'), { what: 'the first worker' });
}

function shell(script: string, cwd: string): Promise<{ error: ExecFileException | null; stdout: string }> {
  return new Promise((resolve) => {
    execFile('sh', ['-c', script], { cwd }, (error, stdout) => resolve({ error, stdout }));
  });
}
