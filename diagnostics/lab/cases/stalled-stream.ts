import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { LabCase } from '../case.js';
import { signalOf } from '../case.js';

/** Gives a line, then nothing until the operator ends the report. */
const endOfReport: (() => void)[] = [];

async function* rows(): AsyncGenerator<string> {
  yield 'first row\n';
  // leaks here
  await new Promise<void>((resolve) => {
    endOfReport.push(resolve);
  });
}

async function* rowsUntil(signal: AbortSignal): AsyncGenerator<string> {
  yield 'first row\n';
  await new Promise<void>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error('nobody reads any more')));
  });
}

const upperCase = (): Transform =>
  new Transform({ transform: (chunk, _encoding, done) => done(null, String(chunk).toUpperCase()) });

export default {
  title: 'pipe() that goes on waiting when the client is gone',

  leaking: () => (_request, response) => {
    Readable.from(rows()).pipe(upperCase()).pipe(response);
  },

  fixed: () => async (_request, response) => {
    const signal = signalOf(response);
    await pipeline(Readable.from(rowsUntil(signal)), upperCase(), response, { signal });
  },
} satisfies LabCase;
