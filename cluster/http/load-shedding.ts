// Refuses claims before anything is done for them, while the event loop is so late that claims would be late, too. Only a
// part of them: a refusal costs most of what a claim costs, so a worker that refused everybody would be as busy as before
// and serve nobody (docs/decisions/0009-shedding-refuses-a-part.md). What has to wait for Redis is refused by the mailbox.
import type { Settings } from '../../platform/settings.js';
import type { ApiInstance } from './api-server.js';
import { sendProblem } from './problems.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What a request of this route costs beside its refusal: about as much, or hundreds of times as much. */
    cost?: 'claim' | 'batch';
  }
}

/** How often the loop is looked at: a part of the shortest delay that anybody would call late. */
const SAMPLE_EVERY_MS = 100;

/** Samples in a row that must be late: one long garbage collection is over by the time it is noticed. */
const LATE_SAMPLES = 3;

/**
 * Claims of ten that are refused while the loop is late: as many as leave the rest nine tenths of the processor. To check a
 * token costs ten refusals; without tokens a refusal costs what a claim does.
 */
const REFUSED_OF_TEN: Readonly<Record<Settings['authMode'], number>> = { trusted: 1, jwt: 5 };

/** Whether the event loop of this process is late, and has been for a while. */
export class LoopDelay {
  readonly #maxMs: number;
  #timer: NodeJS.Timeout | undefined;
  #dueAt = 0;
  #lateSamples = 0;

  constructor(maxMs: number) {
    this.#maxMs = maxMs;
  }

  start(): void {
    this.#dueAt = performance.now() + SAMPLE_EVERY_MS;
    this.#timer = setInterval(() => {
      const now = performance.now();
      this.#lateSamples = now - this.#dueAt > this.#maxMs ? this.#lateSamples + 1 : 0;
      this.#dueAt = now + SAMPLE_EVERY_MS;
    }, SAMPLE_EVERY_MS);
  }

  isLate(): boolean {
    return this.#lateSamples >= LATE_SAMPLES;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

/** Refuses with `overloaded`: every batch, and some of the single claims, while `isLate`. `onShed`: once for each. */
export function shedLoad(
  app: ApiInstance,
  authMode: Settings['authMode'],
  isLate: () => boolean,
  onShed: () => void,
): void {
  const refusedOfTen = REFUSED_OF_TEN[authMode];
  let claims = 0;
  app.addHook('onRequest', (request, reply, done) => {
    const { cost } = request.routeOptions.config;
    if (cost === undefined || !isLate()) {
      done();
    } else if (cost === 'batch' || claims++ % 10 >= 10 - refusedOfTen) {
      onShed();
      sendProblem(reply, 'overloaded', { detail: 'This process is late with everything.' });
    } else {
      done();
    }
  });
}
