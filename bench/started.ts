// What a part of the benchmark has started, stopped again whatever happens.
import { messageOf } from '../platform/errors.js';

export interface Stoppable {
  stop(): Promise<void>;
}

/** `keep` is told of everything that is started; after `work` it is stopped, the newest first. One failure stops no other. */
export async function stoppingAll<T>(work: (keep: <S extends Stoppable>(one: S) => S) => Promise<T>): Promise<T> {
  const started: Stoppable[] = [];
  try {
    return await work((one) => {
      started.push(one);
      return one;
    });
  } finally {
    const failures: unknown[] = [];
    for (const one of started.reverse()) await one.stop().catch((error: unknown) => failures.push(error));
    if (failures.length > 0) {
      // eslint-disable-next-line no-unsafe-finally -- what still runs is worse news than why it ended
      throw new AggregateError(failures, `could not stop everything: ${messageOf(failures[0])}`);
    }
  }
}
