// Has dead letters tried again: those that are due, for the job, and any one that an operator asks for. What an attempt is,
// coupons/dead-letters.ts says; the ledger makes it.
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChangeContext } from './changes.js';
import type { DeadLetter } from './dead-letters.js';
import { postpone, readDueLetters, readLetter, readLetters } from './dead-letters.js';
import { requeue } from './requeue.js';
import { StampedeError } from '../platform/errors.js';

/** How long the ledger may take to settle or refuse an entry; after that it is put into the outbox once more. */
const ATTEMPT_LIMIT_MS = 60_000;
/** Letters of one look. */
const DUE_MAX = 100;
/** How long an operator waits for the ledger, below the time limit of an admin request. */
const ANSWER_LIMIT_MS = 8_000;
const ANSWER_LOOK_MS = 50;

/** What operators may do with dead letters. */
export interface DeadLetters {
  /** By id, ascending; `after` is the last id of the page before. */
  list(page: { after: number; limit: number }): Promise<{ letters: DeadLetter[]; next: number | null }>;
  /**
   * Tries one again, now; resolves when it is settled. Throws `unknown_dead_letter`, `dead_letter_refused` with the reason,
   * `fenced`, or `outcome_unknown` while the ledger has not come to it.
   */
  retry(id: number): Promise<void>;
}

export function deadLettersOver(context: ChangeContext): DeadLetters {
  const { mysql } = context;
  return {
    list: async (page) => {
      const letters = await readLetters(mysql, page);
      return { letters, next: letters.length < page.limit ? null : (letters.at(-1)?.id ?? null) };
    },
    retry: async (id) => {
      const letter = await readLetter(mysql, id);
      if (letter === undefined) throw new StampedeError('unknown_dead_letter');
      await tryAgain(context, letter);
      for (const deadline = performance.now() + ANSWER_LIMIT_MS; performance.now() < deadline;) {
        const now = await readLetter(mysql, id);
        if (now === undefined) return;
        if (now.attempts > letter.attempts) throw new StampedeError('dead_letter_refused', now.reason);
        await sleep(ANSWER_LOOK_MS);
      }
      throw new StampedeError('outcome_unknown', 'The ledger has not come to this dead letter yet.');
    },
  };
}

/** Returns how many were put back into the outbox. A shard that is closed keeps only its own letters waiting. */
export async function retryDueLetters(context: ChangeContext): Promise<number> {
  let tried = 0;
  for (const letter of await readDueLetters(context.mysql, DUE_MAX)) {
    // Before the entry is in the outbox: the other way round, a crash in between would try it twice as often.
    if (!(await postpone(context.mysql, letter, ATTEMPT_LIMIT_MS))) continue;
    try {
      await tryAgain(context, letter);
      tried++;
    } catch (error) {
      if (!(error instanceof StampedeError) || error.code !== 'fenced') throw error;
    }
  }
  return tried;
}

async function tryAgain(context: ChangeContext, { id, shard, fields }: DeadLetter): Promise<void> {
  await requeue(context, shard, [...fields, 'letter', String(id)]);
}
