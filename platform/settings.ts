// Every setting of the service: its environment variable, default, unit and meaning. Read once, at the start of a
// process, and passed on from there; nothing else reads process.env. README's configuration table agrees by test.
import { availableParallelism } from 'node:os';
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { ConfigurationError } from './errors.js';
import { redisUrlProblem } from './redis-url.js';

export interface Settings {
  readonly host: string;
  readonly port: number;
  readonly adminHost: string;
  readonly adminPort: number;
  /** Unset: the service runs a private server of its own. */
  readonly redisUrl: string | undefined;
  readonly mysqlUrl: string | undefined;
  readonly httpWorkers: number;
  readonly authMode: 'trusted' | 'jwt';
  readonly gatewayToken: string | undefined;
  readonly jwtSecret: string | undefined;
  readonly jwtJwksUrl: string | undefined;
  readonly jwtIssuer: string | undefined;
  readonly jwtAudience: string | undefined;
  readonly adminToken: string | undefined;
  /** Absolute path. */
  readonly dir: string;
  readonly shardCount: number;
  readonly ledgerWindow: number;
  readonly ledgerThreads: number;
  readonly claimTimeoutMs: number;
  readonly defaultAck: 'redis' | 'fsync' | 'replica' | 'ledger' | undefined;
  readonly replicaCount: number;
  readonly mailboxDepthMax: number;
  /** Event loop delay in ms beyond which claims are refused. */
  readonly loopDelayMaxMs: number;
  /** Requests a minute in each http worker; 0: no limit. */
  readonly addressRateLimit: number;
  readonly userRateLimit: number;
  /** Addresses and networks whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly string[];
  /** Names, beyond the safe ones, under which the admin API may be asked for. */
  readonly adminAllowedHosts: readonly string[];
  readonly archiveAfterHours: number;
  readonly eventsUrl: string | undefined;
  readonly eventsSecret: string | undefined;
  readonly drainTimeoutMs: number;
  /** Undefined: no limit. */
  readonly workerMemoryMaxMb: number | undefined;
  readonly logLevel: string;
  readonly diagnostics: 'on' | 'off';
  readonly leakWindowMs: number;
  readonly collectionRules: string | undefined;
  readonly collectionsPerHour: number;
}

interface Setting<T> {
  readonly variable: string;
  /** As the README prints it. */
  readonly defaultText: string;
  readonly meaning: string;
  readonly read: (text: string | undefined, variable: string) => T;
}

type SettingsTable = { readonly [K in keyof Settings]: Setting<Settings[K]> };

const ACK_LEVELS = ['redis', 'fsync', 'replica', 'ledger'] as const;
const MAX_PORT = 65_535;
/** A script call of one batch holds Redis for about 5 µs a claim; more than this many waiting is seconds of delay. */
const MAILBOX_DEPTH_LIMIT = 1_000_000;

export const SETTINGS: SettingsTable = {
  host: { variable: 'HOST', defaultText: '127.0.0.1', meaning: 'Address of the public API.', read: text('127.0.0.1') },
  port: { variable: 'PORT', defaultText: '8080', meaning: 'Port of the public API.', read: whole(8080, 1, MAX_PORT) },
  adminHost: {
    variable: 'ADMIN_HOST',
    defaultText: '127.0.0.1',
    meaning: 'Address of the admin API.',
    read: text('127.0.0.1'),
  },
  adminPort: {
    variable: 'ADMIN_PORT',
    defaultText: '9464',
    meaning: 'Port of the admin API.',
    read: whole(9464, 1, MAX_PORT),
  },
  redisUrl: {
    variable: 'REDIS_URL',
    defaultText: 'own server',
    meaning:
      'Redis 7.0 or newer, `redis://` or `rediss://`; several URLs separated by commas: nodes of a Redis Cluster (docs/redis.md). Unset: a private redis-server in STAMPEDE_DIR.',
    read: redisUrl,
  },
  mysqlUrl: {
    variable: 'MYSQL_URL',
    defaultText: 'own server',
    meaning:
      'MySQL 8 or MariaDB 10.6 or newer, `mysql://user:password@host:port/database`. Unset: a private mariadbd in STAMPEDE_DIR.',
    read: url(['mysql:']),
  },
  httpWorkers: {
    variable: 'WEB_CONCURRENCY',
    defaultText: 'one per core',
    meaning: 'Number of `http` worker processes.',
    read: whole(availableParallelism(), 1, 256),
  },
  authMode: {
    variable: 'AUTH_MODE',
    defaultText: 'trusted',
    meaning: '`trusted`: the user is the header X-User-Id, set by a gateway. `jwt`: the `sub` of a bearer token.',
    read: oneOf(['trusted', 'jwt'] as const, 'trusted'),
  },
  gatewayToken: {
    variable: 'GATEWAY_TOKEN',
    defaultText: 'unset',
    meaning:
      'Shared secret that the gateway sends as X-Gateway-Token, 16 characters or more. Required in `trusted` mode unless HOST is loopback.',
    read: secret(16),
  },
  jwtSecret: {
    variable: 'JWT_SECRET',
    defaultText: 'unset',
    meaning: 'Shared key of HS256 tokens, 32 characters or more. `jwt` mode needs this or JWT_JWKS_URL.',
    read: secret(32),
  },
  jwtJwksUrl: {
    variable: 'JWT_JWKS_URL',
    defaultText: 'unset',
    meaning: 'Where the public keys of RS256, ES256 or EdDSA tokens are published.',
    read: url(['http:', 'https:']),
  },
  jwtIssuer: { variable: 'JWT_ISSUER', defaultText: 'unset', meaning: 'Required `iss` of tokens.', read: optional },
  jwtAudience: { variable: 'JWT_AUDIENCE', defaultText: 'unset', meaning: 'Required `aud` of tokens.', read: optional },
  adminToken: {
    variable: 'ADMIN_TOKEN',
    defaultText: 'made at first start',
    meaning: 'Bearer token of the admin API, 16 characters or more. Unset: a random one in STAMPEDE_DIR/admin-token.',
    read: secret(16),
  },
  dir: {
    variable: 'STAMPEDE_DIR',
    defaultText: '.stampede',
    meaning: 'Folder of the data, sockets and the admin token.',
    read: (value) => resolve(value ?? '.stampede'),
  },
  shardCount: {
    variable: 'SHARD_COUNT',
    defaultText: '16',
    meaning: 'Number of logical shards. Fixed by the first start; another value later is refused.',
    read: whole(16, 1, 100),
  },
  ledgerWindow: {
    variable: 'LEDGER_WINDOW',
    defaultText: '100000',
    meaning: 'Claims of one coupon that may run ahead of MySQL before claims get `ledger_behind`.',
    read: whole(100_000, 1, 10_000_000),
  },
  ledgerThreads: {
    variable: 'LEDGER_THREADS',
    defaultText: '2',
    meaning: 'Piscina threads that write to MySQL, each with one connection.',
    read: whole(2, 1, 32),
  },
  claimTimeoutMs: {
    variable: 'CLAIM_TIMEOUT_MS',
    defaultText: '2000',
    meaning:
      'Milliseconds that a claim waits before it is answered `unavailable` (not sent) or `outcome_unknown` (sent).',
    read: whole(2_000, 50, 60_000),
  },
  defaultAck: {
    variable: 'DEFAULT_ACK',
    defaultText: '`fsync` or `redis`',
    meaning:
      'Acknowledgement level of coupons that name none: `redis`, `fsync`, `replica` or `ledger`. Unset: `fsync` where Redis flushes before it replies, else `redis`.',
    read: (value, variable) => (value === undefined ? undefined : oneOf(ACK_LEVELS, 'redis')(value, variable)),
  },
  replicaCount: {
    variable: 'REPLICA_COUNT',
    defaultText: '0',
    meaning:
      'Replicas of the Redis master, all of which must have a claim at level `replica`: name every one that may be promoted. 0: the level is not offered.',
    read: whole(0, 0, 16),
  },
  mailboxDepthMax: {
    variable: 'MAILBOX_DEPTH_MAX',
    defaultText: '8192',
    meaning: 'Claims that may wait in the mailbox of one shard in one process before more are answered `overloaded`.',
    read: whole(8_192, 1, MAILBOX_DEPTH_LIMIT),
  },
  loopDelayMaxMs: {
    variable: 'LOOP_DELAY_MAX_MS',
    defaultText: '500',
    meaning: 'Milliseconds that the event loop of an `http` worker may be late before it refuses a part of the claims.',
    read: whole(500, 20, 60_000),
  },
  addressRateLimit: {
    variable: 'ADDRESS_RATE_LIMIT',
    defaultText: '0',
    meaning:
      'Requests that one address (IPv6: one /64 network) may send in a minute to each `http` worker. 0: no limit. Behind a gateway it needs TRUSTED_PROXIES.',
    read: whole(0, 0, 1_000_000),
  },
  userRateLimit: {
    variable: 'USER_RATE_LIMIT',
    defaultText: '0',
    meaning: 'Requests that one user may send in a minute to each `http` worker. 0: no limit.',
    read: whole(0, 0, 1_000_000),
  },
  trustedProxies: {
    variable: 'TRUSTED_PROXIES',
    defaultText: 'none',
    meaning:
      'Addresses and networks (`10.0.0.0/8`), with commas, whose `X-Forwarded-For` names the address that is counted.',
    read: list(isNetwork, 'addresses and networks such as 10.0.0.0/8'),
  },
  adminAllowedHosts: {
    variable: 'ADMIN_ALLOWED_HOSTS',
    defaultText: 'none',
    meaning:
      'Host names with a dot, with commas, under which the admin API may be asked for. Addresses, names without a dot and `*.localhost` always may.',
    read: list(isHostName, 'host names without ports'),
  },
  archiveAfterHours: {
    variable: 'ARCHIVE_AFTER_HOURS',
    defaultText: '168',
    meaning:
      'Hours after its end that a coupon is archived: its receipts leave Redis and come from MySQL, and it cannot be changed any more.',
    read: whole(168, 0, 87_600),
  },
  eventsUrl: {
    variable: 'EVENTS_URL',
    defaultText: 'unset',
    meaning: 'Where events (opened, sold out, closed, invariant broken) are sent by POST. Unset: nobody is told.',
    read: url(['http:', 'https:']),
  },
  eventsSecret: {
    variable: 'EVENTS_SECRET',
    defaultText: 'unset',
    meaning: 'Key of the signatures of events, 16 characters or more. Required with EVENTS_URL.',
    read: secret(16),
  },
  drainTimeoutMs: {
    variable: 'DRAIN_TIMEOUT_MS',
    defaultText: '20000',
    meaning: 'Milliseconds that each role may take to drain before it is killed.',
    read: whole(20_000, 5_000, 600_000),
  },
  workerMemoryMaxMb: {
    variable: 'WORKER_MEMORY_MAX_MB',
    defaultText: 'no limit',
    meaning:
      'Resident memory of one worker, in MiB, above which it is replaced without a failed request, and a heap profile saved in STAMPEDE_DIR/profiles first.',
    read: (value, variable) => (value === undefined ? undefined : whole(0, 64, 1_048_576)(value, variable)),
  },
  logLevel: {
    variable: 'LOG_LEVEL',
    defaultText: 'info',
    meaning: '`trace`, `debug`, `info`, `warn`, `error` or `silent`.',
    read: oneOf(['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const, 'info'),
  },
  diagnostics: {
    variable: 'DIAGNOSTICS',
    defaultText: 'on',
    meaning: '`on`: every process records its async resources and answers `/debug`. `off`: none does.',
    read: oneOf(['on', 'off'] as const, 'on'),
  },
  leakWindowMs: {
    variable: 'LEAK_WINDOW_MS',
    defaultText: '40000',
    meaning: 'Milliseconds over which growth is judged: suspect after about 1.5 times as long, leaking after 2.5.',
    read: whole(40_000, 5_000, 3_600_000),
  },
  collectionRules: {
    variable: 'COLLECT_WHEN',
    defaultText: 'unset',
    meaning:
      'Rules by which a process saves evidence of itself in STAMPEDE_DIR/collected, e.g. `leaking: leaks, async; delay>200ms for 10s: stack, profile`.',
    read: optional,
  },
  collectionsPerHour: {
    variable: 'COLLECT_PER_HOUR',
    defaultText: '6',
    meaning: 'Most actions of these rules within an hour, in each process.',
    read: whole(6, 1, 1_000),
  },
};

/** Reads and checks the whole environment. Throws `ConfigurationError` with one line that names the variable. */
export function readSettings(environment: Readonly<Record<string, string | undefined>>): Settings {
  const settings = Object.fromEntries(
    Object.entries(SETTINGS).map(([key, setting]) => {
      // An empty variable is an unset one, as `VAR= command` and compose files mean it.
      const raw = environment[setting.variable];
      return [key, setting.read(raw === '' ? undefined : raw, setting.variable)];
    }),
  ) as unknown as Settings;
  checkTogether(settings);
  return settings;
}

function checkTogether(settings: Settings): void {
  if (settings.authMode === 'trusted' && settings.gatewayToken === undefined && !isLoopback(settings.host)) {
    throw new ConfigurationError(
      `GATEWAY_TOKEN must be set: with AUTH_MODE=trusted and HOST=${settings.host} anybody could claim as anybody.`,
    );
  }
  if (settings.authMode === 'jwt' && settings.jwtSecret === undefined && settings.jwtJwksUrl === undefined) {
    throw new ConfigurationError('JWT_SECRET or JWT_JWKS_URL must be set when AUTH_MODE is jwt.');
  }
  if (settings.jwtSecret !== undefined && settings.jwtJwksUrl !== undefined) {
    throw new ConfigurationError('JWT_SECRET and JWT_JWKS_URL exclude each other: set one of them.');
  }
  if (settings.defaultAck === 'replica' && settings.replicaCount === 0) {
    throw new ConfigurationError('REPLICA_COUNT must be 1 or more when DEFAULT_ACK is replica.');
  }
  if (settings.eventsUrl !== undefined && settings.eventsSecret === undefined) {
    throw new ConfigurationError('EVENTS_SECRET must be set when EVENTS_URL is: receivers know the sender by it.');
  }
  if (settings.port === settings.adminPort && settings.host === settings.adminHost) {
    throw new ConfigurationError('ADMIN_PORT must differ from PORT.');
  }
}

/** True for 127.0.0.0/8, ::1 and localhost. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

function text(fallback: string) {
  return (value: string | undefined): string => value ?? fallback;
}

function optional(value: string | undefined): string | undefined {
  return value;
}

function whole(fallback: number, min: number, max: number) {
  return (value: string | undefined, variable: string): number => {
    if (value === undefined) return fallback;
    const number = Number(value);
    if (!/^\d+$/.test(value) || number < min || number > max) {
      throw new ConfigurationError(`${variable} must be a whole number from ${min} to ${max}, not "${value}".`);
    }
    return number;
  };
}

function oneOf<T extends string>(values: readonly T[], fallback: T) {
  return (value: string | undefined, variable: string): T => {
    if (value === undefined) return fallback;
    const found = values.find((candidate) => candidate === value);
    if (found === undefined)
      throw new ConfigurationError(`${variable} must be one of ${values.join(', ')}, not "${value}".`);
    return found;
  };
}

/** Items with commas between them, in lower case. */
function list(isItem: (item: string) => boolean, items: string) {
  return (value: string | undefined, variable: string): readonly string[] => {
    if (value === undefined) return [];
    const found = value.split(',').map((item) => item.trim().toLowerCase());
    if (!found.every(isItem))
      throw new ConfigurationError(`${variable} must be ${items}, with commas, not "${value}".`);
    return found;
  };
}

function isHostName(item: string): boolean {
  return /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(item);
}

function isNetwork(item: string): boolean {
  const [, address = '', bits] = /^([\da-f.:]+)(?:\/(\d{1,3}))?$/.exec(item) ?? [];
  const version = isIP(address);
  return version !== 0 && Number(bits ?? 0) <= (version === 4 ? 32 : 128);
}

function url(protocols: readonly string[]) {
  return (value: string | undefined, variable: string): string | undefined => {
    if (value === undefined) return undefined;
    // The value is not repeated: it may hold a password.
    if (!URL.canParse(value) || !protocols.includes(new URL(value).protocol)) {
      throw new ConfigurationError(
        `${variable} must be a URL that starts with ${protocols.map((p) => `${p}//`).join(' or ')}.`,
      );
    }
    return value;
  };
}

function redisUrl(value: string | undefined, variable: string): string | undefined {
  const problem = value === undefined ? undefined : redisUrlProblem(value);
  if (problem !== undefined) throw new ConfigurationError(`${variable} ${problem}.`);
  return value;
}

function secret(lengthMin: number) {
  return (value: string | undefined, variable: string): string | undefined => {
    if (value !== undefined && (value.length < lengthMin || !/^[\x21-\x7e]+$/.test(value))) {
      throw new ConfigurationError(`${variable} must be ${lengthMin} or more visible ASCII characters.`);
    }
    return value;
  };
}
