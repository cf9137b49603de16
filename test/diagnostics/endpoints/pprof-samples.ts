// Reads pprof profiles the way a tool does: stacks as text, values as numbers.
import { gunzipSync } from 'node:zlib';
import { Profile } from 'pprof-format';

export interface DecodedSample {
  readonly value: number;
  /** `function file:line`, innermost first. */
  readonly stack: string[];
  readonly labels: Readonly<Record<string, string>>;
}

export interface Decoded {
  readonly profile: Profile;
  readonly type: string;
  readonly samples: DecodedSample[];
}

export function decode(body: Buffer): Decoded {
  const profile = Profile.decode(gunzipSync(body));
  const word = (index: number | bigint | undefined): string => profile.stringTable.strings[Number(index)] ?? '';
  const functions = new Map(profile.function.map((fn) => [fn.id, fn]));
  const places = new Map(
    profile.location.map(({ id, line }) => {
      const fn = functions.get(line[0]?.functionId ?? 0);
      return [id, `${word(fn?.name)} ${word(fn?.filename)}:${String(line[0]?.line)}`];
    }),
  );
  const samples = profile.sample.map(({ value, locationId, label }) => ({
    value: Number(value[0]),
    stack: locationId.map((id) => places.get(id) ?? ''),
    labels: Object.fromEntries(label.map(({ key, str }) => [word(key), word(str)])),
  }));
  return { profile, samples, type: word(profile.sampleType[0]?.type) };
}

/** Of all samples with the function anywhere on their stack. */
export function valueOf(samples: readonly DecodedSample[], functionName: string): number {
  return samples
    .filter(({ stack }) => stack.some((place) => place.startsWith(`${functionName} `)))
    .reduce((sum, { value }) => sum + value, 0);
}
