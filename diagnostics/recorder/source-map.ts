// Turns a position in the running JavaScript into one in the file that the user wrote, when somebody looks, not before, and not in the
// thread that is watched: parsing the maps of a program takes a tenth of a second. Reads the source map that the file itself names:
// a program needs no --enable-source-maps. Reads files only.
import { existsSync, readFileSync, statSync } from 'node:fs';
import type { SourceMapPayload } from 'node:module';
import { SourceMap } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Frame } from '../model.js';

/** Files whose maps are remembered; beyond it frames stay unmapped rather than memory growing. */
const FILES_MAX = 500;
/** A file or map above this is not read: parsing it would hold up its thread for too long. */
const BYTES_MAX = 4 * 1024 * 1024;
/** Frames whose places are remembered, so that the sites of one snapshot after the other are looked up once: some 10 MB. */
const PLACES_MAX = 20_000;
const COMMENT = /^\/\/[#@] sourceMappingURL=(\S+)\s*$/gm;
const DATA_URL = /^data:application\/json[^,]*;base64,/;

type Place = Omit<Frame, 'functionName'>;

interface Mapped {
  readonly map: SourceMap;
  /** Against which the map's sources are resolved. */
  readonly base: string;
}

export class SourceMaps {
  readonly #files = new Map<string, Mapped | undefined>();
  readonly #places = new Map<string, Place>();

  /** The frame as the user wrote it; with a plain path, also where there is no map. Never throws. */
  toSource(frame: Frame): Frame {
    const key = `${frame.file}:${frame.line}:${frame.column}`;
    let place = this.#places.get(key);
    if (place === undefined) {
      place = this.#placeOf(frame);
      if (this.#places.size >= PLACES_MAX) this.#places.clear();
      this.#places.set(key, place);
    }
    return { functionName: frame.functionName, ...place };
  }

  /** The same with the stacks as the user wrote them. */
  withSources<T extends { readonly stack: readonly Frame[] }>(recorded: readonly T[]): T[] {
    return recorded.map((each) => ({ ...each, stack: each.stack.map((frame) => this.toSource(frame)) }));
  }

  #placeOf({ file, line, column }: Frame): Place {
    const mapped = this.#mapOf(file);
    if (mapped !== undefined) {
      const entry = mapped.map.findEntry(line - 1, column - 1);
      if ('originalSource' in entry) {
        const original = toPath(new URL(entry.originalSource, mapped.base).href);
        return { file: original, line: entry.originalLine + 1, column: entry.originalColumn + 1 };
      }
    }
    return { file: toPath(file), line, column };
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
