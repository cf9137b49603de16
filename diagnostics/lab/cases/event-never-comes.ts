import { EventEmitter, once } from 'node:events';
import type { LabCase } from '../case.js';
import { signalOf } from '../case.js';

const prices = new EventEmitter().setMaxListeners(0);

export default {
  title: 'once() for an event that does not come',

  leaking: () => async (_request, response) => {
    const [price] = (await once(prices, 'changed')) as [number]; // leaks here
    response.end(String(price));
  },

  fixed: () => async (_request, response) => {
    const [price] = (await once(prices, 'changed', { signal: signalOf(response) })) as [number];
    response.end(String(price));
  },
} satisfies LabCase;
