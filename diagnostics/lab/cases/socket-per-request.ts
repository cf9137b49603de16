import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { LabCase } from '../case.js';
import { listen } from '../case.js';

const port = await listen(createServer((socket) => socket.on('error', () => socket.destroy()).write('hello')));

export default {
  title: 'a connection per request, never closed',

  leaking: () => async (_request, response) => {
    const socket = connect(port, '127.0.0.1'); // leaks here
    const [greeting] = (await once(socket, 'data')) as [Buffer];
    response.end(greeting);
  },

  fixed: () => async (_request, response) => {
    const socket = connect(port, '127.0.0.1');
    try {
      const [greeting] = (await once(socket, 'data')) as [Buffer];
      response.end(greeting);
    } finally {
      socket.destroy();
    }
  },
} satisfies LabCase;
