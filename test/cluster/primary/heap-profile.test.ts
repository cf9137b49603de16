// Heap profiles of a process with the real agent, and of one without.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { saveHeapProfile } from '../../../cluster/primary/heap-profile.js';
import { createLog } from '../../../platform/log.js';
import { packagePath } from '../../../platform/package-root.js';
import { atEndOfFile } from '../../harness/cleanup.js';
import { makeScratchFolder } from '../../harness/scratch.js';
import { waitFor } from '../../harness/wait-for.js';

const KEPT = 20;
const log = createLog('test', 'silent');

it('saves what the agent gives, for this user alone, and keeps the newest', async () => {
  const scratch = await makeScratchFolder('heap');
  const socketFolder = join(scratch, 'run');
  await mkdir(socketFolder, { mode: 0o700 });
  const socket = join(socketFolder, 'http-1.sock');
  const program = "globalThis.kept = []; setInterval(() => kept.push(Buffer.from('x'.repeat(5000))), 1);";
  const child = spawn(
    process.execPath,
    ['--import', packagePath('dist', 'diagnostics', 'register.js'), '-e', program],
    {
      cwd: scratch,
      env: { PATH: process.env['PATH'], STAMPEDE_DEBUG_SOCKET: socket },
      stdio: 'inherit',
    },
  );
  const exited = once(child, 'exit');
  atEndOfFile(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  await waitFor(() => existsSync(socket), { what: 'the agent' });

  const folder = join(scratch, 'profiles');
  const profiles = { socketFolder, folder, log, windowSeconds: 1 };
  const file = await saveHeapProfile(profiles, 'http-1');
  if (file === undefined) throw new Error('no profile');
  expect(gunzipSync(await readFile(file)).includes('inuse_space')).toBe(true);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect((await stat(folder)).mode & 0o777).toBe(0o700);

  for (let i = 10; i < 10 + KEPT; i++) await writeFile(join(folder, `2000-01-01T00-00-${i}-http-1.pb.gz`), '');
  const newest = await saveHeapProfile(profiles, 'http-1');
  const left = await readdir(folder);
  expect(left).toHaveLength(KEPT);
  expect(left).toContain(newest?.slice(folder.length + 1));
  expect(left).not.toContain('2000-01-01T00-00-10-http-1.pb.gz');

  expect(await saveHeapProfile(profiles, 'http-2')).toBeUndefined();
  expect(await readdir(folder)).toEqual(left);
});
