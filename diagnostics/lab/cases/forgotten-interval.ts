import type { LabCase } from '../case.js';

const HEARTBEAT_MS = 200;

export default {
  title: 'setInterval not cleared when the client goes',

  leaking: () => (_request, response) => {
    setInterval(() => response.write('beat\n'), HEARTBEAT_MS); // leaks here
  },

  fixed: () => (_request, response) => {
    const beating = setInterval(() => response.write('beat\n'), HEARTBEAT_MS);
    response.once('close', () => clearInterval(beating));
  },
} satisfies LabCase;
