// Turns a position in the running JavaScript into one in the file that the user wrote, when somebody looks, not before.
// Reads the source map that the file itself names: a program needs no --enable-source-maps. Reads files only.
import { existsSync, readFileSync, statSync } from 'node:fs';
import type { SourceMapPayload } from 'node:module';
import { SourceMap } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Frame } from '../model.js';

/** Files whose maps are remembered; beyond it frames stay unmapped rather than memory growing. */
const FILES_MAX = 500;
/** A file or map above this is not read: parsing it would hold up the main thread for too long. */
const BYTES_MAX = 4 * 1024 * 1024;
const COMMENT = /^\/\/[#@] sourceMappingURL=(\S+)\s*$/gm;
const DATA_URL = /^data:application\/json[^,]*;base64,/;

interface Mapped {
  readonly map: SourceMap;
  /** Against which the map's sources are resolved. */
  readonly base: string;
}

export class SourceMaps {
  readonly #files = new Map<string, Mapped | undefined>();

  /** The frame as the user wrote it; with a plain path, also where there is no map. Never throws. */
  toSource(frame: Frame): Frame {
    const mapped = this.#mapOf(frame.file);
    if (mapped !== undefined) {
      const entry = mapped.map.findEntry(frame.line - 1, frame.column - 1);
      if ('originalSource' in entry) {
        const file = toPath(new URL(entry.originalSource, mapped.base).href);
        return { ...frame, file, line: entry.originalLine + 1, column: entry.originalColumn + 1 };
      }
    }
    return { ...frame, file: toPath(frame.file) };
  }

  #mapOf(file: string): Mapped | undefined {
    if (this.#files.has(file)) return this.#files.get(file);
    if (this.#files.size >= FILES_MAX) return undefined;
    let mapped: Mapped | undefined;
    try {
      mapped = load(toPath(file));
    } catch {
      // A broken map costs the mapping, nothing else.
    }
    this.#files.set(file, mapped);
    return mapped;
  }
}

function load(path: string): Mapped | undefined {
  if (!isReadable(path)) return undefined;
  const named = [...readFileSync(path, 'utf8').matchAll(COMMENT)].at(-1)?.[1];
  if (named === undefined) return undefined;
  const base = pathToFileURL(path);
  if (DATA_URL.test(named)) {
    return { map: parse(Buffer.from(named.replace(DATA_URL, ''), 'base64').toString('utf8')), base: base.href };
  }
  const mapUrl = new URL(named, base);
  if (mapUrl.protocol !== 'file:' || !isReadable(fileURLToPath(mapUrl))) return undefined;
  return { map: parse(readFileSync(mapUrl, 'utf8')), base: mapUrl.href };
}

function parse(json: string): SourceMap {
  return new SourceMap(JSON.parse(json) as SourceMapPayload);
}

function isReadable(path: string): boolean {
  return existsSync(path) && statSync(path).size <= BYTES_MAX;
}

function toPath(file: string): string {
  return file.startsWith('file://') ? fileURLToPath(file) : file;
}
