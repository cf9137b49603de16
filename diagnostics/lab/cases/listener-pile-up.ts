import { EventEmitter } from 'node:events';
import type { LabCase } from '../case.js';

const settings = new EventEmitter().setMaxListeners(0);

export default {
  title: 'a listener per request on a long-lived emitter',

  leaking: () => (_request, response) => {
    settings.on('changed', () => response.setHeader('x-settings', 'changed')); // leaks here
    setTimeout(() => response.end(), 5);
  },

  fixed: () => (_request, response) => {
    const onChanged = (): unknown => response.setHeader('x-settings', 'changed');
    settings.on('changed', onChanged);
    response.once('close', () => settings.off('changed', onChanged));
    setTimeout(() => response.end(), 5);
  },
} satisfies LabCase;
