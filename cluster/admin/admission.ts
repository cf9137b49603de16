// Who may use the admin API: programs with the token as a bearer; people with a browser, for the pages below /debug and
// /docs only, with the token as the password of HTTP Basic (any user name), because a browser has no other way to send one.
//
// A browser sends a Basic password along with whatever page makes it ask, so whatever a browser sends must come from the
// pages themselves or from the address bar: from another site it could start profiles and snapshots behind a person's back.
// And it must ask for this server by a name that no other site can have (host-names.ts).
import type { FastifyReply, FastifyRequest } from 'fastify';
import { sendProblem } from '../http/problems.js';
import { bearerToken, createSecretTest } from '../http/secrets.js';
import { isDocsPage } from './docs-page.js';
import { isSafeHost } from './host-names.js';

/** What a request that is not admitted is told. */
export const ADMISSION_PROBLEMS = ['unauthenticated', 'forbidden'] as const;

const BASIC = /^Basic +([A-Za-z0-9+/=_-]+)$/i;
const CHALLENGES = { bearer: 'Bearer realm="stampede admin"', basic: 'Basic realm="stampede admin", charset="UTF-8"' };

/** The `admit` of the admin server: false when it has answered the request itself. */
export function createAdmission(
  adminToken: string,
  allowedHosts: readonly string[],
): (request: FastifyRequest, reply: FastifyReply) => boolean {
  const isAdmin = createSecretTest(adminToken);
  return (request, reply) => {
    // Undefined where there is no such route.
    const { url } = request.routeOptions;
    // A process that lives may be asked so by anybody.
    if (url === '/healthz') return true;
    if (!isSafeHost(request.headers.host, allowedHosts)) {
      sendProblem(reply, 'forbidden', { detail: 'ADMIN_ALLOWED_HOSTS does not name the host of this request.' });
      return false;
    }
    if (!isFromItself(request)) {
      sendProblem(reply, 'forbidden', {
        detail: 'Another site made your browser ask this. Open the address yourself.',
      });
      return false;
    }
    const { authorization } = request.headers;
    const token = bearerToken(authorization);
    if (token !== undefined && isAdmin(token)) return true;
    const isForBrowsers = url !== undefined && (url === '/debug' || url.startsWith('/debug/') || isDocsPage(url));
    const password = isForBrowsers ? basicPassword(authorization) : undefined;
    if (password !== undefined && isAdmin(password)) return true;
    reply.header('www-authenticate', isForBrowsers ? [CHALLENGES.bearer, CHALLENGES.basic] : CHALLENGES.bearer);
    const how = isForBrowsers
      ? 'Authorization: Bearer <token>, or as the password of Basic'
      : 'Authorization: Bearer <token>';
    sendProblem(reply, 'unauthenticated', { detail: `Send the admin token as ${how}.` });
    return false;
  };
}

/** Of `Authorization: Basic`; undefined when there is none. The user name is nobody's business here. */
function basicPassword(authorization: string | undefined): string | undefined {
  const encoded = authorization === undefined ? undefined : BASIC.exec(authorization)?.[1];
  if (encoded === undefined) return undefined;
  const [, ...password] = Buffer.from(encoded, 'base64').toString('utf8').split(':');
  return password.length === 0 ? undefined : password.join(':');
}

/** Browsers say where a request comes from; tools such as `go tool pprof` say nothing, and are nobody's victim. */
function isFromItself({ headers }: FastifyRequest): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return false;
  const { origin, host } = headers;
  return origin === undefined || (URL.canParse(origin) && new URL(origin).host === host);
}
