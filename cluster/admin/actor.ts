// The actor of the role `admin`: coupons and admin API, started and drained together.
import { refuseNewerSchema } from '../../workers/migrations/migrate.js';
import { createCoupons } from '../../coupons/mysql-redis-coupons.js';
import { ConfigurationError } from '../../platform/errors.js';
import type { Log } from '../../platform/log.js';
import type { ActorFactory } from '../actor.js';
import { socketFolder } from '../diagnostics.js';
import { drain, listen } from '../http/listener.js';
import { describePublicApi } from '../http/public-description.js';
import { createAdminServer } from './admin-server.js';
import { watchCoupons } from './coupon-metrics.js';

export const createActor: ActorFactory = ({ settings, log, metrics, cluster }) => {
  const { adminToken, adminHost, adminPort, adminAllowedHosts: allowedHosts } = settings;
  // The start command makes one when there is none; a worker without it was started by something else.
  if (adminToken === undefined) throw new ConfigurationError('ADMIN_TOKEN must be set for the admin process.');
  const coupons = createCoupons({ settings, log });
  watchCoupons(coupons, metrics);
  const api = createAdminServer({
    ...{ adminToken, log, coupons, cluster, allowedHosts },
    socketFolder: socketFolder(settings),
    describePublicApi: () => describePublicApi(settings, log),
  });
  return {
    async start() {
      if (settings.mysqlUrl !== undefined) await refuseRollback(settings.mysqlUrl, log);
      await coupons.start();
      const address = { host: adminHost, port: adminPort, hostVariable: 'ADMIN_HOST', portVariable: 'ADMIN_PORT' };
      await listen(api.app, address);
      log.info({ host: adminHost, port: adminPort }, 'admin API listens');
    },
    unreadyReasons: () => coupons.unreadyReasons(),
    async drain(deadline) {
      await drain(api, deadline);
      await coupons.stop();
    },
  };
};

/**
 * A reload begins with this role: an older version that meets a newer version's tables ends here, and the processes of the version
 * before go on. A MySQL that is away is waited for elsewhere.
 */
async function refuseRollback(mysqlUrl: string, log: Log): Promise<void> {
  try {
    await refuseNewerSchema(mysqlUrl);
  } catch (error) {
    if (error instanceof ConfigurationError) throw error;
    log.debug({ err: error }, 'the version of the tables could not be read');
  }
}
