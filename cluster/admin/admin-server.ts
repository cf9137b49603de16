// The admin API as a server: the bearer token and the operators' routes on top of what all APIs share. Needs a `Coupons`,
// an audit and a view of the cluster; opens no database itself.
import type { AuditReport, Coupons } from '../../coupons/coupons.js';
import type { Log } from '../../platform/log.js';
import type { ClusterLink } from '../actor.js';
import { createApiServer } from '../http/api-server.js';
import type { ApiServer } from '../http/api-server.js';
import { ADMIN_LIMITS } from '../http/limits.js';
import type { HttpLimits } from '../http/limits.js';
import { sendProblem } from '../http/problems.js';
import { bearerToken, createSecretTest } from '../http/secrets.js';
import { claimListRoutes } from './claim-list-routes.js';
import { couponRoutes } from './coupon-routes.js';
import { operationsRoutes } from './operations-routes.js';

/** What the admin API asks of the coupons; coupons/mysql-redis-coupons.ts has it all. */
export interface AdminCoupons extends Coupons {
  audit(): Promise<AuditReport>;
  unreadyReasons(): string[];
}

export interface AdminServerOptions {
  readonly adminToken: string;
  readonly log: Log;
  readonly coupons: AdminCoupons;
  readonly cluster: ClusterLink;
  readonly limits?: HttpLimits;
}

/** Open it with `listen`, end it with `drain` (cluster/http/listener.ts). */
export function createAdminServer(options: AdminServerOptions): ApiServer {
  const { adminToken, log, coupons, cluster, limits = ADMIN_LIMITS } = options;
  const isAdmin = createSecretTest(adminToken);
  const api = createApiServer({
    log,
    limits,
    description: {
      title: 'Stampede admin',
      description: 'For operators. Errors are RFC 9457 problem documents with a stable `code`.',
      securitySchemes: {
        adminToken: { type: 'http', scheme: 'bearer', description: 'ADMIN_TOKEN, or STAMPEDE_DIR/admin-token.' },
      },
      admissionProblems: ['unauthenticated'],
    },
    unreadyReasons: () => coupons.unreadyReasons(),
    admit: (request, reply) => {
      // A process that lives may be asked so by anybody; the address of a route is undefined where there is none.
      if (request.routeOptions.url === '/healthz') return true;
      const token = bearerToken(request.headers.authorization);
      if (token !== undefined && isAdmin(token)) return true;
      reply.header('www-authenticate', 'Bearer realm="stampede admin"');
      sendProblem(reply, 'unauthenticated', { detail: 'Send the admin token as Authorization: Bearer <token>.' });
      return false;
    },
  });
  api.app.register(couponRoutes(coupons));
  api.app.register(claimListRoutes(coupons, log));
  api.app.register(operationsRoutes(() => coupons.audit(), cluster));
  return api;
}
