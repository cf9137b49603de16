// The public API as a server: identity and claim routes on top of what all APIs share. Needs a claim service, and neither
// a cluster nor a database.
import type { Log } from '../../platform/log.js';
import type { Settings } from '../../platform/settings.js';
import type { ClaimService } from '../claims/claim-service.js';
import { createApiServer } from './api-server.js';
import type { ApiServer } from './api-server.js';
import { claimBatchRoutes } from './claim-batch-routes.js';
import { claimRoutes } from './claim-routes.js';
import { createIdentify } from './identity.js';
import { HTTP_LIMITS } from './limits.js';
import type { HttpLimits } from './limits.js';
import type { ApiDescription } from './openapi.js';

export interface HttpServerOptions {
  readonly settings: Settings;
  readonly log: Log;
  readonly claims: ClaimService;
  readonly limits?: HttpLimits;
}

/** Open it with `listen`, end it with `drain` (listener.ts). */
export function createHttpServer({ settings, log, claims, limits = HTTP_LIMITS }: HttpServerOptions): ApiServer {
  const api = createApiServer({
    log,
    limits,
    description: describe(settings),
    unreadyReasons: () => claims.unreadyReasons(),
  });
  api.app.register(claimRoutes(claims, createIdentify(settings, log)));
  api.app.register(claimBatchRoutes(claims, settings));
  return api;
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
