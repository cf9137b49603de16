// Settings: every wrong value ends the start with one line that names the variable, and the README tells the truth.
import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigurationError } from '../../platform/errors.js';
import { packagePath } from '../../platform/package-root.js';
import { isLoopback, readSettings, SETTINGS } from '../../platform/settings.js';

describe('readSettings', () => {
  it('has a default for everything, and takes an empty variable as unset', () => {
    expect(readSettings({})).toMatchObject({ host: '127.0.0.1', port: 8080, authMode: 'trusted', redisUrl: undefined });
    expect(readSettings({ PORT: '', REDIS_URL: '' })).toMatchObject({ port: 8080, redisUrl: undefined });
  });

  it.each([
    ['PORT', 'eighty'],
    ['PORT', '0'],
    ['PORT', '65536'],
    ['PORT', '80.5'],
    ['ADMIN_PORT', '-1'],
    ['ADMIN_PORT', '8080'],
    ['REDIS_URL', 'localhost:6379'],
    ['REDIS_URL', 'http://localhost'],
    ['REDIS_URL', 'redis://a:1,'],
    ['REDIS_URL', 'redis://a:1,http://b:2'],
    ['REDIS_URL', 'redis://a:1,rediss://b:2'],
    ['REDIS_URL', 'redis://:one@a:1,redis://:two@b:2'],
    ['REDIS_URL', 'redis://a:1/0,redis://b:2/3'],
    ['REDIS_URL', 'redis://:pass,word@a:1'],
    ['MYSQL_URL', 'postgres://localhost/x'],
    ['WEB_CONCURRENCY', '0'],
    ['WEB_CONCURRENCY', '1e3'],
    ['AUTH_MODE', 'none'],
    ['GATEWAY_TOKEN', 'short'],
    ['GATEWAY_TOKEN', 'with a space in between'],
    ['JWT_SECRET', 'too-short-for-hs256'],
    ['JWT_JWKS_URL', 'file:///etc/passwd'],
    ['ADMIN_TOKEN', 'short'],
    ['SHARD_COUNT', '101'],
    ['LEDGER_WINDOW', '0'],
    ['LEDGER_THREADS', '99'],
    ['CLAIM_TIMEOUT_MS', '1'],
    ['MAILBOX_DEPTH_MAX', 'many'],
    ['DRAIN_TIMEOUT_MS', '10'],
    ['LOOP_DELAY_MAX_MS', '0'],
    ['ADDRESS_RATE_LIMIT', '-1'],
    ['USER_RATE_LIMIT', '1.5'],
    ['TRUSTED_PROXIES', 'gateway'],
    ['TRUSTED_PROXIES', '10.0.0.0/33'],
    ['TRUSTED_PROXIES', '10.0.0.1,,'],
    ['ADMIN_ALLOWED_HOSTS', 'https://a.example'],
    ['ADMIN_ALLOWED_HOSTS', 'a.example:9464'],
    ['LOG_LEVEL', 'loud'],
    ['DIAGNOSTICS', 'maybe'],
    ['LEAK_WINDOW_MS', '100'],
  ])('%s=%s is refused by name', (variable, value) => {
    const read = () => readSettings({ [variable]: value });
    expect(read).toThrow(ConfigurationError);
    expect(read).toThrow(variable);
  });

  it('never repeats a URL or a secret that it refuses', () => {
    for (const variable of ['REDIS_URL', 'MYSQL_URL', 'ADMIN_TOKEN', 'GATEWAY_TOKEN', 'JWT_SECRET']) {
      expect(() => readSettings({ [variable]: 'pass word' })).not.toThrow('pass word');
    }
  });

  it('wants a gateway token off loopback, and a key for jwt', () => {
    expect(() => readSettings({ HOST: '0.0.0.0' })).toThrow('GATEWAY_TOKEN');
    expect(readSettings({ HOST: '0.0.0.0', GATEWAY_TOKEN: 'sixteen-letters!' })).toMatchObject({ host: '0.0.0.0' });
    expect(readSettings({ HOST: '127.9.9.9' })).toMatchObject({ host: '127.9.9.9' });
    expect(() => readSettings({ AUTH_MODE: 'jwt' })).toThrow('JWT_SECRET');
    const both = { AUTH_MODE: 'jwt', JWT_SECRET: 'x'.repeat(32), JWT_JWKS_URL: 'https://keys.example/jwks' };
    expect(() => readSettings(both)).toThrow('JWT_JWKS_URL');
  });
});

it('takes whatever is in the environment, or refuses it in one line that names the variable and no secret', () => {
  const variables = Object.values(SETTINGS).map(({ variable }) => variable);
  const value = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.constantFrom(
      '0',
      '1',
      '-1',
      '1e9',
      '65535',
      ' 8080',
      '8080 ',
      '0x50',
      'Infinity',
      'true',
      'jwt',
      '::1',
      '0.0.0.0',
      ',',
    ),
    fc.webUrl(),
    fc.stringMatching(/^[!-~]{16,40}$/),
  );
  let refused = 0;
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...variables), value, { maxKeys: 4 }), (environment) => {
      let settings;
      try {
        settings = readSettings(environment);
      } catch (error) {
        refused++;
        expect(error).toBeInstanceOf(ConfigurationError);
        const { message } = error as ConfigurationError;
        expect(variables.some((variable) => message.includes(variable))).toBe(true);
        for (const secret of ['ADMIN_TOKEN', 'GATEWAY_TOKEN', 'JWT_SECRET', 'REDIS_URL', 'MYSQL_URL']) {
          const text = environment[secret] ?? '';
          if (text.length > 8) expect(message).not.toContain(text);
        }
        return;
      }
      for (const number of Object.values(settings).filter((setting) => typeof setting === 'number')) {
        expect(Number.isSafeInteger(number) && number >= 0).toBe(true);
      }
      const { authMode, gatewayToken, jwtSecret, jwtJwksUrl, host } = settings;
      expect(authMode === 'trusted' ? (gatewayToken ?? isLoopback(host)) : (jwtSecret ?? jwtJwksUrl)).toBeTruthy();
    }),
    { seed: 20_261_127, numRuns: 3_000 },
  );
  expect(refused).toBeGreaterThan(500);
});

it('the README lists every setting with its default', async () => {
  const readme = await readFile(packagePath('README.md'), 'utf8');
  const rows = new Map([...readme.matchAll(/^\| `([A-Z_]+)` +\| (.*?) +\| (.*?) +\|$/gm)].map((row) => [row[1], row]));
  for (const { variable, defaultText, meaning } of Object.values(SETTINGS)) {
    expect([variable, rows.get(variable)?.[2], rows.get(variable)?.[3]]).toEqual([variable, defaultText, meaning]);
  }
  expect([...rows.keys()].sort()).toEqual(
    Object.values(SETTINGS)
      .map(({ variable }) => variable)
      .sort(),
  );
});
