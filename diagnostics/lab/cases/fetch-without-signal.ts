import { createServer } from 'node:http';
import type { LabCase } from '../case.js';
import { listen, signalOf } from '../case.js';

/** Accepts and never answers. */
const port = await listen(createServer(() => undefined));

export default {
  title: 'fetch without a signal, of a service that hangs',

  leaking: () => async (_request, response) => {
    const answer = await fetch(`http://127.0.0.1:${port}/`); // leaks here
    response.end(await answer.text());
  },

  fixed: () => async (_request, response) => {
    const signal = signalOf(response);
    const answer = await fetch(`http://127.0.0.1:${port}/`, { signal });
    response.end(await answer.text());
  },
} satisfies LabCase;
