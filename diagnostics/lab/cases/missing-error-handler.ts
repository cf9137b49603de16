import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { LabCase } from '../case.js';

let asked = 0;

/** Every second source breaks before its end. */
function* rows(): Generator<string> {
  const isBroken = ++asked % 2 === 0;
  yield 'first row\n';
  if (isBroken) throw new Error('the source broke');
}

export default {
  title: "stream that breaks: nobody listens for its 'error'",

  leaking: () => {
    // So that the process lives on whatever happens: nobody hears of the error that nobody handles.
    process.on('uncaughtException', () => undefined);
    return async (_request, response) => {
      const source = Readable.from(rows());
      source.on('data', (row) => response.write(row));
      // leaks here
      await new Promise((resolve) => {
        source.once('end', resolve);
      });
      response.end();
    };
  },

  fixed: () => async (_request, response) => {
    response.end(await text(Readable.from(rows())));
  },
} satisfies LabCase;
