// The actor of the role `http`: claim service and public API, started and drained together.
import type { Actor, ActorContext, ActorFactory } from '../actor.js';
import type { OpenPatience } from '../claims/epoch-watch.js';
import { ClaimMetrics } from '../claims/claim-metrics.js';
import { createClaimService } from '../claims/redis-claim-service.js';
import { createHttpServer } from './http-server.js';
import { HTTP_LIMITS } from './limits.js';
import { drain, listen, rest } from './listener.js';

/** Idle connections end by their keep-alive time; who still claims by then has to wait. */
const REST_LIMIT_MS = HTTP_LIMITS.keepAliveTimeoutMs + 1_000;

/**
 * The kernel hands connections to whoever listens, and beside others a process that cannot serve yet would answer 503 where they
 * answer claims. So it listens when it can serve every shard; soon after the first, where others stay closed; and in any case
 * after a while, so that `/readyz` can say what is missing.
 */
const PATIENCE: OpenPatience = { firstMs: 10_000, restMs: 1_000 };

/** Part of the drain that is kept for closing what is open. */
const CLOSE_RESERVE_MS = 1_000;

export const createActor: ActorFactory = (context) => createHttpActor(context, PATIENCE);

export function createHttpActor({ name, settings, log, metrics }: ActorContext, patience: OpenPatience): Actor {
  const claimMetrics = new ClaimMetrics(metrics);
  const claims = createClaimService({ name, settings, log, metrics: claimMetrics });
  const api = createHttpServer({ settings, log, claims, onShed: () => claimMetrics.shed() });
  const { host, port } = settings;
  const address = { host, port, hostVariable: 'HOST', portVariable: 'PORT' };
  return {
    async start(stopping) {
      await claims.start();
      await claims.whenOpen(patience, stopping);
      if (stopping?.aborted) return;
      await listen(api.app, address);
      log.info({ host, port }, 'public API listens');
    },
    unreadyReasons: () => claims.unreadyReasons(),
    // Alone it cannot be spared: nobody else would accept.
    ...(settings.httpWorkers > 1 && { rest: () => rest(api, address, REST_LIMIT_MS) }),
    async drain(deadline) {
      await drain(api, deadline);
      // Last: every claim that was taken has been answered by now, and the ledger is still at work.
      await claims.stop(deadline - CLOSE_RESERVE_MS);
    },
  };
}
