// Turns the recorder's sites into a pprof profile: live resources per creating stack, with kind, type and age as labels,
// so that `-tagfocus kind=promise` and `-tagshow age` work.
import { AGE_STEPS_MS } from '../model.js';
import type { SiteSample } from '../model.js';
import { ProfileBuilder } from './profile-builder.js';
import type { PprofFrame } from './profile-builder.js';

/** `at`: epoch ms of the sample. */
export async function sitesToPprof(sites: readonly SiteSample[], at: number): Promise<Buffer> {
  const builder = new ProfileBuilder({ type: 'live', unit: 'count', at });
  for (const site of sites) {
    const stack = stackOf(site);
    for (const { age, live } of ageBuckets(site)) {
      builder.add(stack, live, { kind: site.kind, type: site.type, age });
    }
  }
  return builder.encode();
}

/** The line is the creation's, which is as much as is known of where the function begins. */
function stackOf({ stack, type }: SiteSample): PprofFrame[] {
  if (stack.length === 0) return [{ functionName: `(${type} without a stack)`, file: '', line: 0 }];
  return stack.map(({ functionName, file, line }) => ({ functionName, file, line, startLine: line }));
}

interface AgeBucket {
  readonly age: string;
  readonly live: number;
}

/** Splits a site by age where the single ages are known; tools that sort labels as text keep the order. */
export function ageBuckets({ live, ages, ageP50Ms }: SiteSample): AgeBucket[] {
  if (ages === undefined) return [{ age: bucketName(AGE_STEPS_MS.findLastIndex((step) => step <= ageP50Ms)), live }];
  const atLeast = [live, ...ages];
  return atLeast
    .map((count, index) => ({ age: bucketName(index - 1), live: Math.round(count - (atLeast[index + 1] ?? 0)) }))
    .filter((bucket) => bucket.live > 0);
}

/** `00 under 0.25 s`, `05 4 s or more`, … */
function bucketName(step: number): string {
  const order = String(step + 1).padStart(2, '0');
  const stepMs = AGE_STEPS_MS[step];
  return stepMs === undefined ? `${order} under 0.25 s` : `${order} ${stepMs / 1_000} s or more`;
}
