import { createServer, get } from 'node:http';
import type { LabCase } from '../case.js';
import { listen } from '../case.js';

const port = await listen(createServer((_request, response) => response.end('x'.repeat(1_000_000))));

export default {
  title: 'the body of a response that nobody reads',

  leaking: () => (_request, response) => {
    // leaks here
    get({ port, agent: false }, ({ statusCode = 502 }) => {
      response.writeHead(statusCode).end();
    });
  },

  fixed: () => (_request, response) => {
    const outgoing = get({ port, agent: false, signal: AbortSignal.timeout(1_000) }, (answer) => {
      answer.resume();
      response.writeHead(answer.statusCode ?? 502).end();
    });
    outgoing.on('error', () => response.destroy());
  },
} satisfies LabCase;
