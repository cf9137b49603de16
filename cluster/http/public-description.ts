// The OpenAPI document of the public API for whoever does not serve it: made from the same routes, without opening a port.
import type { Log } from '../../platform/log.js';
import type { Settings } from '../../platform/settings.js';
import type { ClaimService } from '../claims/claim-service.js';
import { createHttpServer } from './http-server.js';

/** Routes are described, never run. */
const NO_CLAIMS = {} as ClaimService;

export async function describePublicApi(settings: Settings, log: Log): Promise<object> {
  const { app } = createHttpServer({ settings, log, claims: NO_CLAIMS, isLate: () => false });
  try {
    await app.ready();
    return app.swagger();
  } finally {
    await app.close();
  }
}
