// Writes pprof profiles (gzip protobuf), the format that `go tool pprof`, speedscope and Pyroscope open. One sample type
// per profile, because speedscope shows only the last one; everything else about a sample is a label.
import path from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import {
  Function as PprofFunction,
  Label,
  Line,
  Location,
  Mapping,
  Profile,
  Sample,
  StringTable,
  ValueType,
} from 'pprof-format';

const gzipAsync = promisify(gzip);
const NANOSECONDS_PER_MS = 1_000_000n;

export interface PprofFrame {
  readonly functionName: string;
  readonly file: string;
  readonly line: number;
  /** Where the function begins, if known: speedscope tells functions of one name apart by it. */
  readonly startLine?: number;
}

export interface PprofHead {
  /** What is counted, e.g. `cpu`, and in which of pprof's units, e.g. `nanoseconds`. */
  readonly type: string;
  readonly unit: string;
  /** Epoch ms. */
  readonly at: number;
  readonly durationMs?: number;
  /** One sample stands for this many units, if sampling was even. */
  readonly period?: number;
}

export class ProfileBuilder {
  readonly #strings = new StringTable();
  readonly #functions = new Map<string, PprofFunction>();
  readonly #locations = new Map<string, Location>();
  readonly #samples: Sample[] = [];
  readonly #head: PprofHead;

  constructor(head: PprofHead) {
    this.#head = head;
  }

  /** `stack` innermost first. Labels: text, or whole numbers with pprof's guess of a unit (none). */
  add(stack: readonly PprofFrame[], value: number, labels: Readonly<Record<string, string | number>> = {}): void {
    this.#samples.push(
      new Sample({
        locationId: stack.map((frame) => this.#location(frame).id),
        value: [Math.round(value)],
        label: Object.entries(labels).map(([key, said]) => {
          const label = { key: this.#strings.dedup(key) };
          return new Label(
            typeof said === 'number'
              ? { ...label, num: Math.round(said) }
              : { ...label, str: this.#strings.dedup(said) },
          );
        }),
      }),
    );
  }

  /** Sync by design of the encoder, gzip off the thread; runs in the diagnostics thread. */
  async encode(): Promise<Buffer> {
    const { type, unit, at, durationMs = 0, period = 1 } = this.#head;
    const valueType = new ValueType({ type: this.#strings.dedup(type), unit: this.#strings.dedup(unit) });
    const profile = new Profile({
      sampleType: [valueType],
      sample: this.#samples,
      // Says that names and lines are in the profile, so that no tool goes looking for a binary.
      mapping: [new Mapping({ id: 1, hasFunctions: true, hasFilenames: true, hasLineNumbers: true })],
      location: [...this.#locations.values()],
      function: [...this.#functions.values()],
      stringTable: this.#strings,
      timeNanos: BigInt(Math.round(at)) * NANOSECONDS_PER_MS,
      durationNanos: BigInt(Math.round(durationMs)) * NANOSECONDS_PER_MS,
      periodType: valueType,
      period,
    });
    return gzipAsync(profile.encode());
  }

  #location(frame: PprofFrame): Location {
    const fn = this.#function(frame);
    const key = `${String(fn.id)}:${frame.line}`;
    const known = this.#locations.get(key);
    if (known !== undefined) return known;
    const location = new Location({
      id: this.#locations.size + 1,
      mappingId: 1,
      line: [new Line({ functionId: fn.id, line: frame.line })],
    });
    this.#locations.set(key, location);
    return location;
  }

  #function({ functionName, file, startLine = 0 }: PprofFrame): PprofFunction {
    const key = `${functionName}\0${file}\0${startLine}`;
    const known = this.#functions.get(key);
    if (known !== undefined) return known;
    const name = this.#strings.dedup(nameOf(functionName, file, startLine));
    const created = new PprofFunction({
      id: this.#functions.size + 1,
      name,
      systemName: name,
      filename: this.#strings.dedup(file),
      startLine,
    });
    this.#functions.set(key, created);
    return created;
  }
}

/** Tools add up what has one name, so functions without a name are called by their place. */
function nameOf(functionName: string, file: string, startLine: number): string {
  if (functionName !== '' && functionName !== '<anonymous>' && functionName !== '(anonymous)') return functionName;
  return `(anonymous ${path.basename(file)}:${startLine})`;
}
