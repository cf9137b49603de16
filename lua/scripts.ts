// Loads the Lua scripts of this folder and runs them. A line `-- @include name` is replaced by include/name.lua, once
// per script; a bad include is refused with file and line. Knows nothing of what the scripts mean.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { packagePath } from '../platform/package-root.js';
import type { Redis } from '../platform/redis.js';

export const SCRIPT_NAMES = [
  'acknowledge',
  'change',
  'claim',
  'fence_state',
  'find_damage',
  'load_begin',
  'load_closed',
  'load_finish',
  'load_receipts',
  'lower_stock',
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
    if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
    return await redis.eval(script.source, keys.length, ...keys, ...args);
  }
}
