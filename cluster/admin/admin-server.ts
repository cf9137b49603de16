// The admin API as a server: the admission and the operators' routes on top of what all APIs share. Needs a `Coupons`,
// an audit and a view of the cluster; opens no database itself.
import type { AuditReport, Coupons } from '../../coupons/coupons.js';
import type { DeadLetters } from '../../coupons/dead-letter-retry.js';
import type { Reconciliation } from '../../coupons/reconcile.js';
import type { Log } from '../../platform/log.js';
import type { ClusterLink } from '../actor.js';
import { createApiServer } from '../http/api-server.js';
import type { ApiServer } from '../http/api-server.js';
import { ADMIN_LIMITS } from '../http/limits.js';
import type { HttpLimits } from '../http/limits.js';
import { PAGE_HEADERS } from '../http/security-headers.js';
import { ADMISSION_PROBLEMS, createAdmission } from './admission.js';
import { claimListRoutes } from './claim-list-routes.js';
import { couponRoutes } from './coupon-routes.js';
import { deadLetterRoutes } from './dead-letter-routes.js';
import { debugRoutes } from './debug-routes.js';
import { addDocsPage } from './docs-page.js';
import { operationsRoutes } from './operations-routes.js';
import type { ShardOperations } from './shard-routes.js';
import { shardRoutes } from './shard-routes.js';

/** What the admin API asks of the coupons; coupons/mysql-redis-coupons.ts has it all. */
export interface AdminCoupons extends Coupons, ShardOperations {
  audit(): Promise<AuditReport>;
  reconcile(): Promise<Reconciliation>;
  readonly deadLetters: DeadLetters;
  unreadyReasons(): string[];
}

export interface AdminServerOptions {
  readonly adminToken: string;
  readonly log: Log;
  readonly coupons: AdminCoupons;
  readonly cluster: ClusterLink;
  /** Where the diagnostics agents of the processes have their sockets. */
  readonly socketFolder: string;
  /** Names under which it may be asked for, beyond the safe ones; lower case. */
  readonly allowedHosts: readonly string[];
  /** The OpenAPI document of the public API, for the page that shows both. */
  readonly describePublicApi: () => Promise<object>;
  readonly limits?: HttpLimits;
}

/** Open it with `listen`, end it with `drain` (cluster/http/listener.ts). */
export function createAdminServer(options: AdminServerOptions): ApiServer {
  const { adminToken, log, coupons, cluster, socketFolder, limits = ADMIN_LIMITS } = options;
  const api = createApiServer({
    log,
    limits,
    description: {
      title: 'Stampede admin',
      description: 'For operators. Errors are RFC 9457 problem documents with a stable `code`.',
      securitySchemes: {
        adminToken: { type: 'http', scheme: 'bearer', description: 'ADMIN_TOKEN, or STAMPEDE_DIR/admin-token.' },
      },
      admissionProblems: ADMISSION_PROBLEMS,
    },
    unreadyReasons: () => coupons.unreadyReasons(),
    headers: PAGE_HEADERS,
    admit: createAdmission(adminToken, options.allowedHosts),
  });
  api.app.register(couponRoutes(coupons));
  api.app.register(claimListRoutes(coupons, log));
  api.app.register(deadLetterRoutes(coupons.deadLetters));
  api.app.register(shardRoutes(coupons));
  api.app.register(operationsRoutes(coupons, cluster));
  api.app.register(debugRoutes({ socketFolder, cluster }));
  addDocsPage(api.app, options.describePublicApi);
  return api;
}
