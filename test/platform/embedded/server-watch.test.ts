import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { beforeEach, describe, expect, inject, it } from 'vitest';
import { redisProgram } from '../../../platform/embedded/redis-server.js';
import type { ServerProgram } from '../../../platform/embedded/server-process.js';
import { ServerError, startOnFreePort, startServerProcess } from '../../../platform/embedded/server-process.js';
import { watchServer } from '../../../platform/embedded/server-watch.js';
import { atEndOfFile } from '../../harness/cleanup.js';
import { makeScratchFolder } from '../../harness/scratch.js';
import { waitFor } from '../../harness/wait-for.js';
import { silentLog } from './embedded-harness.js';

const limits = { backoffMsMin: 1, backoffMsMax: 10, quickDeathMs: 60_000, quickDeathsMax: 3 };

describe('a watched server', () => {
  let program: ServerProgram;
  let failures: string[];
  const { redis: executable } = inject('executables');
  if (executable === undefined) throw new Error('the global setup provides Redis');
  const start = { log: silentLog, report: () => undefined };

  beforeEach(async () => {
    failures = [];
    program = await redisProgram({ dir: await makeScratchFolder('watch'), executable }, silentLog);
  });

  it('is given up, once, when it cannot be started again', async () => {
    const first = await startOnFreePort(program, start);
    const broken = { ...program, prepare: () => Promise.resolve([join(program.dataFolder, 'no.conf')]) };
    const watch = watchServer(broken, first, { ...start, limits, onFailure: (reason) => failures.push(reason) });
    atEndOfFile(() => watch.stop());
    await first.kill();
    await waitFor(() => failures.length > 0, { what: 'the watch to give up' });
    await watch.stop();
    expect(failures).toEqual([`Redis died 4 times in a row. Its log: ${program.logFile}`]);
  });

  it('is not started again when it is stopped in the middle of a wait', async () => {
    const first = await startOnFreePort(program, start);
    let starts = 0;
    const counted = {
      ...program,
      prepare: (port: number) => {
        starts++;
        return program.prepare(port);
      },
    };
    const patient = { ...limits, backoffMsMin: 60_000, backoffMsMax: 60_000 };
    const onFailure = (reason: string): unknown => failures.push(reason);
    const watch = watchServer(counted, first, { ...start, limits: patient, onFailure });
    await first.kill();
    await watch.stop();
    expect({ starts, failures }).toEqual({ starts: 0, failures: [] });
  });
});

describe('a start', () => {
  it('fails with the end of the log when the port is taken', async () => {
    const { redis: executable } = inject('executables');
    if (executable === undefined) throw new Error('the global setup provides Redis');
    const program = await redisProgram({ dir: await makeScratchFolder('taken'), executable }, silentLog);
    const other = createServer((socket) => socket.destroy()).listen({ host: '127.0.0.1', port: 0 });
    await once(other, 'listening');
    const { port } = other.address() as { port: number };
    const start = startServerProcess(program, port, { log: silentLog, report: () => undefined });
    await expect(start).rejects.toThrow(ServerError);
    await expect(start).rejects.toThrow(/ended during its start \(exit code 1\)[^]*bind/i);
    other.close();
    await once(other, 'close');
  });
});
