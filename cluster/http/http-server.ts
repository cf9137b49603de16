// The public API as a server: identity and claim routes on top of what all APIs share. Needs a claim service, and neither
// a cluster nor a database.
import type { Log } from '../../platform/log.js';
import type { Settings } from '../../platform/settings.js';
import type { ClaimService } from '../claims/claim-service.js';
import { createApiServer } from './api-server.js';
import type { ApiInstance, ApiServer } from './api-server.js';
import { claimBatchRoutes } from './claim-batch-routes.js';
import { claimRoutes } from './claim-routes.js';
import { createIdentify } from './identity.js';
import { HTTP_LIMITS } from './limits.js';
import type { HttpLimits } from './limits.js';
import { LoopDelay, shedLoad } from './load-shedding.js';
import type { ApiDescription } from './openapi.js';
import { limitRates } from './rate-limits.js';

export interface HttpServerOptions {
  readonly settings: Settings;
  readonly log: Log;
  readonly claims: ClaimService;
  readonly limits?: HttpLimits;
  /** Whether the event loop is late; measured where it is not given. */
  readonly isLate?: () => boolean;
  /** Called for each claim, or batch of them, that is refused because the event loop is late. */
  readonly onShed?: () => void;
}

/** Open it with `listen`, end it with `drain` (listener.ts). */
export function createHttpServer(options: HttpServerOptions): ApiServer {
  const { settings, log, claims, limits = HTTP_LIMITS } = options;
  const api = createApiServer({
    log,
    limits,
    description: describe(settings),
    trustedProxies: settings.trustedProxies,
    unreadyReasons: () => claims.unreadyReasons(),
  });
  const { app } = api;
  const isLate = options.isLate ?? measureDelay(app, settings.loopDelayMaxMs);
  shedLoad(app, settings.authMode, isLate, options.onShed ?? (() => undefined));
  const identify = createIdentify(settings, log);
  limitRates(app, settings, identify);
  app.register(claimRoutes(claims, identify));
  app.register(claimBatchRoutes(claims, settings));
  return api;
}

function measureDelay(app: ApiInstance, maxMs: number): () => boolean {
  const delay = new LoopDelay(maxMs);
  app.addHook('onReady', (done) => {
    delay.start();
    done();
  });
  app.addHook('onClose', (_app, done) => {
    delay.stop();
    done();
  });
  return () => delay.isLate();
}

function describe({ authMode, gatewayToken }: Settings): ApiDescription {
  const gateway = { type: 'apiKey', in: 'header', name: 'X-Gateway-Token', description: 'GATEWAY_TOKEN.' } as const;
  return {
    title: 'Stampede',
    description: 'Claims of limited coupons. Errors are RFC 9457 problem documents with a stable `code`.',
    securitySchemes:
      authMode === 'jwt'
        ? { token: { type: 'http', scheme: 'bearer', description: 'A JWT; its `sub` is the user id.' } }
        : {
            user: { type: 'apiKey', in: 'header', name: 'X-User-Id', description: 'Set by a trusted gateway.' },
            ...(gatewayToken !== undefined && { gateway }),
          },
  };
}
