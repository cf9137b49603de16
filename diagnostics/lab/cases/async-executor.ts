import { setTimeout as sleep } from 'node:timers/promises';
import type { LabCase } from '../case.js';

let asked = 0;
async function query(): Promise<string> {
  await sleep(2);
  if (++asked % 2 === 0) throw new Error('the query failed');
  return 'row';
}

export default {
  title: 'async executor that throws: nobody rejects',

  leaking: () => async (_request, response) => {
    // eslint-disable-next-line no-async-promise-executor, @typescript-eslint/no-misused-promises -- leaks here
    const row = await new Promise<string>(async (resolve) => {
      resolve(await query());
    });
    response.end(row);
  },

  fixed: () => async (_request, response) => {
    response.end(await query());
  },
} satisfies LabCase;
