// What /debug/profile and /debug/heap send can be read with a pprof decoder, with the right values at the right lines.
import { beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '../../harness/wait-for.js';
import { ask, startProgram } from '../agent/program.js';
import type { Program } from '../agent/program.js';
import { decode, valueOf } from './pprof-samples.js';

/** A profile does not know code that V8 has optimised in the middle of a loop before it began: there is none here. */
const NO_OSR = `import { setFlagsFromString } from 'node:v8'; setFlagsFromString('--no-use-osr');`;
/** `burn` takes half of the time; `keep` holds on to what it makes. */
const SOURCE = `${NO_OSR} const kept = [];
function burn(untilMs) {
  let turns = 0;
  while (Date.now() < untilMs) turns += 1;
  return turns;
}
function keep() {
  kept.push(new Array(50_000).fill(kept.length));
}
setInterval(() => {
  burn(Date.now() + 20);
  keep();
}, 40);
`;
const NANOSECONDS_PER_SECOND = 1e9;

let program: Program;
beforeAll(async () => {
  program = await startProgram(SOURCE);
});

describe('/debug/profile', () => {
  test('is a pprof CPU profile with the time of each function at its line', async () => {
    const { status, headers, body } = await ask(program.socketPath, '/debug/profile?seconds=1');
    expect(status).toBe(200);
    expect(headers['content-disposition']).toContain('profile.pb.gz');
    const { profile, samples, type } = decode(body);
    expect(type).toBe('cpu');
    expect(profile.sampleType).toHaveLength(1);
    const seconds = Number(profile.durationNanos) / NANOSECONDS_PER_SECOND;
    expect(seconds).toBeGreaterThan(0.9);
    // 20 ms of every 40: about half. Wide limits, because a busy machine gives it less.
    const burnt = valueOf(samples, 'burn') / NANOSECONDS_PER_SECOND;
    expect(burnt).toBeGreaterThan(seconds * 0.1);
    expect(burnt).toBeLessThan(seconds);
    const leaf = samples.find(({ stack }) => stack[0]?.startsWith('burn '));
    expect(leaf?.stack[0]).toBe(`burn ${program.folder}/app.mjs:4`);
  });

  test('refuses windows that are no windows', async () => {
    for (const seconds of ['0', '-1', 'x', '', '301', 'Infinity']) {
      const { status, text } = await ask(program.socketPath, `/debug/profile?seconds=${seconds}`);
      expect(status, seconds).toBe(400);
      expect(text).toContain('seconds');
    }
  });
});

describe('/debug/heap', () => {
  test('is a pprof profile of the bytes that are still held, by who allocated them', async () => {
    const { status, body } = await ask(program.socketPath, '/debug/heap?seconds=1&gc=1');
    expect(status).toBe(200);
    const { samples, type } = decode(body);
    expect(type).toBe('inuse_space');
    // At least one array of 50,000 numbers, 8 bytes or 4 each.
    expect(valueOf(samples, 'keep')).toBeGreaterThan(50_000 * 4);
  });
});

describe('a second heavy operation', () => {
  test('is refused with 429 and when to come again, and served afterwards', async () => {
    const first = ask(program.socketPath, '/debug/profile?seconds=2');
    const refused = await waitFor(
      async () => {
        const answer = await ask(program.socketPath, '/debug/heap?seconds=0.05');
        return answer.status === 429 ? answer : undefined;
      },
      { what: 'the refusal' },
    );
    expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1);
    expect(refused.text).toContain('CPU profile');
    expect((await first).status).toBe(200);
    expect((await ask(program.socketPath, '/debug/heap?seconds=0.05')).status).toBe(200);
  });
});
