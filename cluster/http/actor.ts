// The actor of the role `http`: claim service and public API, started and drained together.
import type { ActorFactory } from '../actor.js';
import { createClaimService } from '../claims/redis-claim-service.js';
import { createHttpServer } from './http-server.js';
import { drain, listen } from './listener.js';

export const createActor: ActorFactory = ({ settings, log, metrics }) => {
  const claims = createClaimService({ settings, log, metrics });
  const api = createHttpServer({ settings, log, claims });
  return {
    async start() {
      await claims.start();
      const { host, port } = settings;
      await listen(api.app, { host, port, hostVariable: 'HOST', portVariable: 'PORT' });
      log.info({ host, port }, 'public API listens');
    },
    unreadyReasons: () => claims.unreadyReasons(),
    async drain(deadline) {
      await drain(api, deadline);
      // Last: every claim that was taken has been answered by now.
      await claims.stop();
    },
  };
};
