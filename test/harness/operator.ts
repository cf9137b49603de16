// An operator of a running service: the admin API by HTTP, the audit by the command line, the ledger by SQL.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { packagePath } from '../../platform/package-root.js';
import type { TestService } from './service.js';

const LIMIT_MS = 60_000;

export async function createCoupon(
  service: TestService,
  couponId: string,
  total: number,
  more: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  await admin(service, 'POST', '/v1/coupons', { couponId, total, ...more });
}

/** The body of a 2xx answer; any other answer is an error. */
export async function admin(service: TestService, method: string, path: string, body?: unknown): Promise<unknown> {
  const response = await fetch(`${service.adminUrl}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${service.adminToken}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(LIMIT_MS),
  });
  const answer: unknown = await response.json();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`);
  return answer;
}

/** `stampede audit` against the service: exit code and what it printed. */
export async function auditByCommand(service: TestService): Promise<{ exitCode: number; output: string }> {
  return await command(service, 'audit');
}

export async function command(
  service: TestService,
  ...args: readonly string[]
): Promise<{ exitCode: number; output: string }> {
  const env = {
    PATH: process.env['PATH'],
    ADMIN_PORT: new URL(service.adminUrl).port,
    ADMIN_TOKEN: service.adminToken,
    STAMPEDE_DIR: service.dir,
  };
  try {
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      [packagePath('bin', 'stampede.js'), ...args],
      {
        env,
        timeout: LIMIT_MS,
      },
    );
    return { exitCode: 0, output: stdout + stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code?: number; stdout?: string; stderr?: string };
    return { exitCode: code ?? -1, output: `${stdout ?? ''}${stderr ?? ''}` };
  }
}
