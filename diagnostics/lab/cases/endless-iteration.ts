import { EventEmitter, on } from 'node:events';
import type { LabCase } from '../case.js';
import { signalOf } from '../case.js';

const news = new EventEmitter().setMaxListeners(0);
setInterval(() => news.emit('item', 'x'), 100).unref();

export default {
  title: 'for await over on(), never left',

  leaking: () => async (_request, response) => {
    // leaks here
    for await (const [item] of on(news, 'item')) {
      response.write(String(item));
    }
  },

  fixed: () => async (_request, response) => {
    for await (const [item] of on(news, 'item', { signal: signalOf(response) })) {
      response.write(String(item));
    }
  },
} satisfies LabCase;
