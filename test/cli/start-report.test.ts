// What the start prints: addresses that can be asked, commands that can be pasted, no secrets.
import { describe, expect, it } from 'vitest';
import { readyText, waitingFor } from '../../cli/start-report.js';
import type { ProcessStatus } from '../../cluster/actor.js';
import { readSettings } from '../../platform/settings.js';

describe('readyText', () => {
  const folder = '/srv/shop';
  const textFor = (environment: Record<string, string>): string =>
    readyText(readSettings({ STAMPEDE_DIR: `${folder}/.stampede`, ...environment }), folder);

  it('ends with the line that people and programs wait for', () => {
    expect(textFor({}).trimEnd().split('\n').at(-1)).toBe('stampede ready: http://127.0.0.1:8080');
  });

  it('reads the admin token from its file, by the shortest path that a shell understands', () => {
    expect(textFor({})).toContain('Bearer $(cat .stampede/admin-token)"');
    expect(textFor({ STAMPEDE_DIR: '/var/lib/my shop' })).toContain(`$(cat '/var/lib/my shop/admin-token')`);
  });

  it('prints no secret of the settings', () => {
    const secrets = {
      ADMIN_TOKEN: 'admin-secret-admin-secret',
      GATEWAY_TOKEN: 'gateway-secret-gateway-secret',
      REDIS_URL: 'redis://:redis-secret@10.0.0.1:6379',
      MYSQL_URL: 'mysql://root:mysql-secret@10.0.0.1/stampede',
    };
    const text = textFor(secrets);
    expect(text).not.toMatch(/secret/);
    expect(text).toContain('$ADMIN_TOKEN');
    expect(text).toContain('X-Gateway-Token: $GATEWAY_TOKEN');
    expect(text).toContain('redis://10.0.0.1:6379');
  });

  it('shows addresses that can be asked when the service listens on all of them', () => {
    const text = textFor({ HOST: '0.0.0.0', GATEWAY_TOKEN: 'x'.repeat(16), ADMIN_HOST: '::' });
    expect(text).toContain('public API   http://127.0.0.1:8080');
    expect(text).toContain('admin API    http://[::1]:9464');
  });

  it('claims with a bearer token in jwt mode', () => {
    const text = textFor({ AUTH_MODE: 'jwt', JWT_SECRET: 'x'.repeat(32) });
    expect(text).toContain('claims -H "Authorization: Bearer $TOKEN_OF_A_USER"');
    expect(text).not.toContain('X-User-Id');
  });

  it('promises the level fsync only for the Redis that this service runs itself', () => {
    expect(textFor({})).toContain('acknowledgement level fsync, the default');
    expect(textFor({ REDIS_URL: 'redis://10.0.0.1' })).toContain('else redis');
  });
});

describe('waitingFor', () => {
  const process = (name: string, state: ProcessStatus['state'], unreadyReasons: string[] = []): ProcessStatus => ({
    name,
    role: name === 'primary' ? 'primary' : 'http',
    pid: 1,
    state,
    unreadyReasons,
    startedAt: 0,
    restarts: 0,
  });

  it('names the processes that are not ready, with their reasons or their state', () => {
    const processes = [
      process('primary', 'unready'),
      process('http-1', 'ready'),
      process('http-2', 'unready', ['redis_unavailable', 'epochs_unknown']),
      process('http-3', 'backoff'),
    ];
    expect(waitingFor(processes)).toBe('waiting for http-2 (redis_unavailable, epochs_unknown), http-3 (backoff)');
  });

  it('is silent when all are ready', () => {
    expect(waitingFor([process('primary', 'ready'), process('http-1', 'ready')])).toBeUndefined();
  });
});
