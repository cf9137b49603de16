// The sampler alone, with a chosen random source.
import { describe, expect, it } from 'vitest';
import { Sampler } from '../../../diagnostics/recorder/sampler.js';

const PER_SECOND_MAX = 100;

/** A multiplicative congruential generator (Lehmer, 16807 modulo 2^31 - 1): the same run every time. */
function lehmer(): () => number {
  let state = 42;
  return () => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647;
}

function run(sampler: Sampler, events: number): { taken: number; estimate: number } {
  let [taken, estimate] = [0, 0];
  for (let i = 0; i < events; i++) {
    const weight = sampler.take();
    if (weight > 0) taken += 1;
    estimate += weight;
  }
  return { taken, estimate };
}

describe('the sampler', () => {
  it('takes all while they are few', () => {
    const sampler = new Sampler({ perSecondMax: PER_SECOND_MAX, random: lehmer() });
    expect(run(sampler, 50)).toEqual({ taken: 50, estimate: 50 });
  });

  it('keeps to its budget at a high rate, and its estimate is right', () => {
    const sampler = new Sampler({ perSecondMax: PER_SECOND_MAX, random: lehmer() });
    let [taken, estimate] = [0, 0];
    for (let second = 0; second < 20; second++) {
      const each = run(sampler, 100_000);
      sampler.adjust(1_000);
      if (second < 2) continue;
      taken += each.taken;
      estimate += each.estimate;
    }
    expect(taken / 18).toBeLessThan(PER_SECOND_MAX * 1.5);
    expect(estimate / 1_800_000).toBeGreaterThan(0.8);
    expect(estimate / 1_800_000).toBeLessThan(1.2);
  });

  it('does not spend much more when a burst comes out of nowhere', () => {
    const sampler = new Sampler({ perSecondMax: PER_SECOND_MAX, random: lehmer() });
    expect(run(sampler, 1_000_000).taken).toBeLessThan(PER_SECOND_MAX * 6);
  });

  it('takes all again after the load has gone', () => {
    const sampler = new Sampler({ perSecondMax: PER_SECOND_MAX, random: lehmer() });
    run(sampler, 100_000);
    sampler.adjust(1_000);
    expect(sampler.rate).toBeGreaterThan(100);
    for (let second = 0; second < 6; second++) sampler.adjust(1_000);
    expect(sampler.rate).toBe(1);
    expect(run(sampler, 10).taken).toBeGreaterThanOrEqual(9);
  });

  it('does not begin anew with a load that pauses for a second', () => {
    const sampler = new Sampler({ perSecondMax: PER_SECOND_MAX, random: lehmer() });
    const first = run(sampler, 100_000).taken;
    sampler.adjust(1_000);
    sampler.adjust(1_000);
    expect(run(sampler, 100_000).taken).toBeLessThan((first * 2) / 3);
  });

  it('meets every line of code that makes promises in a fixed rhythm', () => {
    const sampler = new Sampler({ perSecondMax: PER_SECOND_MAX, random: lehmer() });
    run(sampler, 44_000);
    sampler.adjust(1_000);
    const lines = new Set<number>();
    for (let i = 0; i < 440_000; i++) if (sampler.take() > 0) lines.add(i % 44);
    expect(lines.size).toBe(44);
  });

  it('takes nothing after it was stopped', () => {
    const sampler = new Sampler({ perSecondMax: PER_SECOND_MAX, random: lehmer() });
    sampler.stop();
    expect(run(sampler, 1_000).taken).toBe(0);
  });
});
