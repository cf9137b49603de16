// Saves a heap profile of a process before it is replaced for its memory: what it allocates in a window and keeps, asked of its
// diagnostics agent. The agent may be switched off, busy or unable: then there is no profile, and the replacement goes on.
import { createWriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { messageOf } from '../../platform/errors.js';
import type { Log } from '../../platform/log.js';

const WINDOW_SECONDS = 10;
/** The window, and what the agent needs to start, end and send it. */
const LIMIT_MS = WINDOW_SECONDS * 1_000 + 10_000;
/** A profile is some 100 KB; the oldest go. */
const KEPT_MAX = 20;
const SUFFIX = '.pb.gz';

export interface HeapProfiles {
  /** Where the sockets of the agents are, as `{name}.sock`. */
  readonly socketFolder: string;
  /** Made when it is needed, 0700; the files in it are 0600. */
  readonly folder: string;
  readonly log: Log;
  readonly windowSeconds?: number;
}

/** The file, or undefined when there is none. Never rejects. */
export async function saveHeapProfile(profiles: HeapProfiles, name: string): Promise<string | undefined> {
  const { socketFolder, folder, log, windowSeconds = WINDOW_SECONDS } = profiles;
  const file = join(folder, `${new Date().toISOString().replaceAll(/[:.]/g, '-')}-${name}${SUFFIX}`);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const signal = AbortSignal.timeout(LIMIT_MS);
    const answer = await ask(join(socketFolder, `${name}.sock`), `/debug/heap?seconds=${windowSeconds}`, signal);
    await pipeline(answer, createWriteStream(`${file}.part`, { mode: 0o600 }), { signal });
    await rename(`${file}.part`, file);
    await removeOldest(folder);
    return file;
  } catch (error) {
    log.warn({ worker: name, reason: messageOf(error) }, 'no heap profile');
    await rm(`${file}.part`, { force: true }).catch(() => undefined);
    return undefined;
  }
}

function ask(socketPath: string, path: string, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request({ socketPath, path, signal, headers: { host: 'localhost' } }, (answer) => {
      if (answer.statusCode === 200) {
        resolve(answer);
        return;
      }
      answer.destroy();
      reject(new Error(`the agent answers ${answer.statusCode ?? 'nothing'}`));
    })
      .on('error', reject)
      .end();
  });
}

/** Their names begin with the time. */
async function removeOldest(folder: string): Promise<void> {
  const files = (await readdir(folder)).filter((file) => file.endsWith(SUFFIX)).sort();
  for (const file of files.slice(0, -KEPT_MAX)) await rm(join(folder, file), { force: true });
}
