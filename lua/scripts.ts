// Loads the Lua scripts of this folder and runs them. A line `-- @include name` is replaced by include/name.lua, once
// per script; a bad include is refused with file and line. Knows nothing of what the scripts mean.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { packagePath } from '../platform/package-root.js';
import type { Redis } from '../platform/redis.js';

export const SCRIPT_NAMES = [
  'acknowledge',
  'archive',
  'change',
  'claim',
  'fence_state',
  'find_damage',
  'load_archived',
  'load_begin',
  'load_closed',
  'load_finish',
  'load_receipts',
  'lower_stock',
  'outbox_ends',
  'rebuild_begin',
  'rebuild_open',
  'receipt',
  'requeue',
  'return',
  'view',
] as const;
export type ScriptName = (typeof SCRIPT_NAMES)[number];

export interface Script {
  readonly name: ScriptName;
  readonly source: string;
  readonly sha1: string;
}

export type Scripts = Readonly<Record<ScriptName, Script>>;

/** Reads all scripts. Throws on a missing file or a bad include. */
export function loadScripts(folder = packagePath('lua')): Scripts {
  return Object.fromEntries(SCRIPT_NAMES.map((name) => [name, loadScript(folder, name)])) as Scripts;
}

function loadScript(folder: string, name: ScriptName): Script {
  const included = new Set<string>();
  const source = readFileSync(`${folder}/${name}.lua`, 'utf8')
    .split('\n')
    .map((line, index) => {
      if (!line.startsWith('-- @include')) return line;
      const fragment = /^-- @include ([a-z_]+)$/.exec(line)?.[1];
      const path = `${folder}/include/${fragment}.lua`;
      if (fragment === undefined || included.has(fragment) || !existsSync(path)) {
        throw new Error(`${name}.lua:${index + 1}: bad include: ${line}`);
      }
      included.add(fragment);
      return readFileSync(path, 'utf8').trimEnd();
    })
    .join('\n');
  return { name, source, sha1: createHash('sha1').update(source).digest('hex') };
}

/**
 * Runs a script by its hash, and by its text when Redis has forgotten it (restart, failover, SCRIPT FLUSH): a NOSCRIPT
 * answer means that nothing ran, so the second call is not a repeat.
 */
export async function runScript(
  redis: Redis,
  script: Script,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<unknown> {
  try {
    return await redis.evalsha(script.sha1, keys.length, ...keys, ...args);
  } catch (error) {
    if (!isNoScript(error)) throw error;
    return await redis.eval(script.source, keys.length, ...keys, ...args);
  }
}

/**
 * The same, followed by WAIT: resolves with the reply and with the number of replicas that have what the script wrote, 0 when
 * that could not be told. Both are written in one piece to one connection: WAIT speaks of what its own connection wrote, and
 * on a new one it says yes at once.
 */
export async function runScriptAndWait(
  redis: Redis,
  script: Script,
  keys: readonly string[],
  args: readonly (string | number)[],
  { replicas, timeoutMs }: { replicas: number; timeoutMs: number },
): Promise<{ reply: unknown; replicas: number }> {
  const send = async (command: 'evalsha' | 'eval', text: string): Promise<{ reply: unknown; replicas: number }> => {
    const pipeline = redis.pipeline();
    const outcomes = await pipeline[command](text, keys.length, ...keys, ...args)
      .wait(replicas, timeoutMs)
      .exec();
    const [ran, waited] = outcomes ?? [];
    if (ran === undefined || ran[0] !== null) throw ran?.[0] ?? new Error('no reply');
    return { reply: ran[1], replicas: typeof waited?.[1] === 'number' ? waited[1] : 0 };
  };
  try {
    return await send('evalsha', script.sha1);
  } catch (error) {
    if (!isNoScript(error)) throw error;
    return await send('eval', script.source);
  }
}

function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}
