// What the start tells people: what it waits for, and when all is ready, what to do next. Pure text; cli/start.ts prints it.
import { relative } from 'node:path';
import type { ProcessStatus } from '../cluster/actor.js';
import type { Reloaded } from '../cluster/primary/primary.js';
import { adminTokenFile } from '../platform/admin-token.js';
import { withoutCredentials } from '../platform/log.js';
import type { Settings } from '../platform/settings.js';

/** One line that names every process that is not ready, and why; undefined when all are. */
export function waitingFor(processes: readonly ProcessStatus[]): string | undefined {
  const waiting = processes.filter((process) => process.role !== 'primary' && process.state !== 'ready');
  if (waiting.length === 0) return undefined;
  const texts = waiting.map(({ name, state, unreadyReasons }) => {
    const why = unreadyReasons.length === 0 ? state : unreadyReasons.join(', ');
    return `${name} (${why})`;
  });
  return `waiting for ${texts.join(', ')}`;
}

/** The text of a service that is ready; its last line holds `stampede ready`. */
export function readyText(settings: Settings, workingFolder: string): string {
  const publicUrl = addressOf(settings.host, settings.port);
  const adminUrl = addressOf(settings.adminHost, settings.adminPort);
  return [
    '',
    `  public API   ${publicUrl}   (${publicUrl}/openapi.json)`,
    `  admin API    ${adminUrl}`,
    `  Redis        ${databaseText(settings.redisUrl)}`,
    `  MySQL        ${databaseText(settings.mysqlUrl)}`,
    `  data         ${settings.dir}`,
    `  logs         this output; the servers' own in ${settings.dir}`,
    `  safe when    ${acknowledgementText(settings)}`,
    '',
    '  A first coupon:',
    '',
    `    curl -X POST ${adminUrl}/v1/coupons -H "Authorization: Bearer ${adminTokenText(settings, workingFolder)}" \\`,
    `      -H 'Content-Type: application/json' -d '{"couponId":"first","total":100}'`,
    '',
    '  A first claim:',
    '',
    `    curl -X POST ${publicUrl}/v1/coupons/first/claims ${identityText(settings)}`,
    '',
    `stampede ready: ${publicUrl}`,
    '',
  ].join('\n');
}

/** One line for whoever has asked for a reload. */
export function reloadedText(reloaded: Reloaded): string {
  switch (reloaded.result) {
    case 'done':
      return 'reload done: every worker has been replaced';
    case 'ended_early':
      return `reload ended early: the new ${reloaded.at} did not become ready, the old workers go on; see the log`;
    case 'stopping':
      return 'no reload: the service is stopping';
  }
}

function addressOf(host: string, port: number): string {
  // The addresses that mean "all of this machine" cannot be asked by every client.
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}

function databaseText(url: string | undefined): string {
  return url === undefined ? 'a private server of this service' : url.split(',').map(withoutCredentials).join(', ');
}

function acknowledgementText(settings: Settings): string {
  return settings.redisUrl === undefined
    ? "a claim is answered when it is on Redis' disk (acknowledgement level fsync, the default)"
    : 'acknowledgement level fsync by default if this Redis has appendfsync always, else redis';
}

function adminTokenText(settings: Settings, workingFolder: string): string {
  if (settings.adminToken !== undefined) return '$ADMIN_TOKEN';
  const file = adminTokenFile(settings);
  const near = relative(workingFolder, file);
  return `$(cat ${quoted(near.startsWith('..') ? file : near)})`;
}

function quoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}

function identityText(settings: Settings): string {
  if (settings.authMode === 'jwt') return `-H "Authorization: Bearer $TOKEN_OF_A_USER"`;
  const gateway = settings.gatewayToken === undefined ? '' : ` -H "X-Gateway-Token: $GATEWAY_TOKEN"`;
  return `-H 'X-User-Id: alice'${gateway}`;
}
