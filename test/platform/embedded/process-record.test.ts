import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, inject, it } from 'vitest';
import { findRecorded, recordProcess, stopRecorded } from '../../../platform/embedded/process-record.js';
import { identify } from '../../../platform/process-identity.js';
import { redisProgram, startRedisServer } from '../../../platform/embedded/redis-server.js';
import { startOnFreePort } from '../../../platform/embedded/server-process.js';
import { ConfigurationError } from '../../../platform/errors.js';
import { atEndOfFile } from '../../harness/cleanup.js';
import { makeScratchFolder } from '../../harness/scratch.js';
import { silentLog } from './embedded-harness.js';

const TERM_TIMEOUT_MS = 200;

describe('a recorded process', () => {
  let folder: string;
  let file: string;

  beforeEach(async () => {
    folder = await makeScratchFolder('record');
    file = join(folder, 'record.json');
  });

  it('is stopped', async () => {
    const child = await startIn(folder, 'setInterval(() => undefined, 1_000)');
    recordProcess(file, child.pid, folder);
    expect(await stopRecorded(file, TERM_TIMEOUT_MS, silentLog)).toBe(true);
    expect(identify(child.pid)).toBeUndefined();
  });

  it('is killed when SIGTERM does not end it', async () => {
    const child = await startIn(folder, "process.on('SIGTERM', () => undefined); setInterval(() => undefined, 1_000)");
    recordProcess(file, child.pid, folder);
    expect(await stopRecorded(file, TERM_TIMEOUT_MS, silentLog)).toBe(true);
    expect(identify(child.pid)).toBeUndefined();
    expect(await child.endSignal).toBe('SIGKILL');
  });

  it.each([
    ['started at another time', { startTicks: '1' }],
    ['started before the last boot', { bootId: 'another' }],
    ['works in another folder', { folder: '/' }],
  ])('is left alone when the process with its id %s', async (_, difference) => {
    const child = await startIn(folder, 'setInterval(() => undefined, 1_000)');
    recordProcess(file, child.pid, folder);
    const record = JSON.parse(readFileSync(file, 'utf8')) as object;
    expect(findRecorded(file)).toEqual(record);
    writeFileSync(file, JSON.stringify({ ...record, ...difference }));
    expect(await stopRecorded(file, TERM_TIMEOUT_MS, silentLog)).toBe(false);
    expect(identify(child.pid)).toBeDefined();
  });

  it('may be missing or unreadable', async () => {
    expect(await stopRecorded(file, TERM_TIMEOUT_MS, silentLog)).toBe(false);
    writeFileSync(file, '{"pid":');
    expect(await stopRecorded(file, TERM_TIMEOUT_MS, silentLog)).toBe(false);
  });
});

describe('a Redis that works in the data folder without a record', () => {
  it('is not joined by a second one, and named', async () => {
    const dir = await makeScratchFolder('stranger');
    const { redis: executable } = inject('executables');
    if (executable === undefined) throw new Error('the global setup provides Redis');
    const context = { log: silentLog, report: () => undefined, onFailure: () => undefined };
    const program = await redisProgram({ dir, executable }, silentLog);
    const stranger = await startOnFreePort({ ...program, recordFile: join(dir, 'elsewhere.json') }, context);
    atEndOfFile(() => stranger.stop());

    const second = startRedisServer({ dir, executable }, context);
    await expect(second).rejects.toThrow(ConfigurationError);
    await expect(second).rejects.toThrow(new RegExp(`process ${stranger.pid} already serves`));
    expect(stranger.end()).toBeUndefined();
  });
});

async function startIn(folder: string, code: string): Promise<{ pid: number; endSignal: Promise<string | null> }> {
  const child = spawn(process.execPath, ['--eval', `${code}; console.log('runs')`], { cwd: folder });
  const endSignal = once(child, 'exit').then(() => child.signalCode);
  atEndOfFile(async () => {
    child.kill('SIGKILL');
    await endSignal;
  });
  await once(child.stdout, 'data');
  if (child.pid === undefined) throw new Error('no process');
  return { pid: child.pid, endSignal };
}
