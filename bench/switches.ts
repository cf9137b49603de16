// The part `switches`: what each part of the service costs, by switching it off or on. Two starts of the same service may differ by
// a twentieth, and stay so as long as they live: each variant is started afresh several times, in turns, and compared with what
// ran in the same turn.
import { randomBytes } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { packagePath } from '../platform/package-root.js';
import { auditProblems } from './audit.js';
import { EVERYTHING_ON } from './everything-on.js';
import { LoadGenerator } from './load-generator.js';
import type { LoadJob } from './load-job.js';
import type { MeasuredLoad } from './measured-load.js';
import { measureAnswered } from './measured-load.js';
import { fetchNode } from './other-node.js';
import type { Part, PartContext } from './part.js';
import { startPeer } from './peers/start-peer.js';
import type { ServiceOptions } from './service.js';
import { startService } from './service.js';
import { stoppingAll } from './started.js';
import { switchesResult } from './switches-result.js';

const STARTS = { full: 3, short: 1 } as const;
const OTHER_NODE = '24.9.0';
const COUPONS = 100;
const GRANTED = '201 claimed';
const NO_METRICS = ['--import', pathToFileURL(packagePath('dist', 'bench', 'without-metrics.js')).href];
const JWT_SECRET = randomBytes(32).toString('hex');

export const ON = 'everything on';
export const BARE = 'diagnostics and metrics off';
export const FLOOR_TITLE = 'empty Fastify route';
export const OTHER_NODE_TITLE = `Node ${OTHER_NODE}`;

/** How users say who they are, and what the service is told to believe. */
interface Authentication {
  readonly environment: Readonly<Record<string, string>>;
  readonly identity?: LoadJob['identity'];
}
const NO_TOKEN: Authentication = { environment: {} };
const JWT: Authentication = { environment: { AUTH_MODE: 'jwt', JWT_SECRET }, identity: { jwtSecret: JWT_SECRET } };

/** A service that is started in another way. */
interface Variant {
  readonly title: string;
  /** Also at the short scale, where each start takes its time but all are alike. */
  readonly short?: true;
  readonly environment?: Readonly<Record<string, string>>;
  readonly execArgv?: readonly string[];
  readonly workers?: number;
  readonly node?: string;
  /** Default: by a gateway with a token. */
  readonly authentication?: Authentication;
}

/** Loads of the service with everything on that differ by what is claimed. */
const LOADS: readonly { readonly title: string; readonly ack?: string; readonly coupons?: number }[] = [
  { title: 'acknowledged at level redis', ack: 'redis' },
  { title: 'acknowledged at level ledger', ack: 'ledger' },
  { title: `${COUPONS} coupons`, coupons: COUPONS },
];

const VARIANTS: readonly Variant[] = [
  { title: ON, short: true },
  { title: BARE, short: true, environment: { DIAGNOSTICS: 'off' }, execArgv: NO_METRICS },
  { title: 'diagnostics off', environment: { DIAGNOSTICS: 'off' } },
  { title: 'metrics off', execArgv: NO_METRICS },
  { title: 'gateway token off', authentication: NO_TOKEN },
  { title: 'log level warn', environment: { LOG_LEVEL: 'warn' } },
  { title: 'rate limits on, too', environment: { USER_RATE_LIMIT: '1000000', ADDRESS_RATE_LIMIT: '1000000' } },
  { title: 'tokens of users instead (AUTH_MODE=jwt, HS256)', authentication: JWT },
  { title: '2 http workers', workers: 2 },
];

/** What was measured under one title, one number a start. */
export type Measurements = Map<string, MeasuredLoad[]>;

export const SWITCHES: Part = {
  name: 'switches',
  description:
    'each part of the service switched off or on: diagnostics, metrics, authentication, levels, workers, Node',
  minutes: 6,
  async measure(context) {
    const { scale, report, signal } = context;
    const variants = scale === 'short' ? VARIANTS.filter(({ short }) => short) : [...VARIANTS];
    const notes: string[] = [];
    if (scale === 'full') {
      report(`Fetching Node ${OTHER_NODE}`);
      const node = await fetchNode(OTHER_NODE, signal);
      if (node === undefined) notes.push(`${OTHER_NODE_TITLE} could not be fetched from npm and was left out.`);
      else variants.push({ title: OTHER_NODE_TITLE, node });
    }
    const measured: Measurements = new Map();
    const problems: string[] = [];
    for (let start = 1; start <= STARTS[scale]; start++) {
      for (const variant of variants) {
        report(`Start ${start} of ${STARTS[scale]}: ${variant.title}`);
        problems.push(...(await measureVariant(variant, context, measured)));
      }
      report(`Start ${start} of ${STARTS[scale]}: scheduling of connections`);
      await measureScheduling(context, measured);
    }
    return switchesResult(measured, problems, notes, context);
  },
};

/** One start of it, beside a fresh floor on the same Node. Resolves with what the audit found. */
async function measureVariant(
  { title, environment = {}, execArgv = [], workers, node, authentication = EVERYTHING_ON }: Variant,
  context: PartContext,
  measured: Measurements,
): Promise<string[]> {
  return await stoppingAll(async (keep) => {
    const { requests, connections, signal } = context;
    const options: ServiceOptions = {
      ...context,
      environment: { ...authentication.environment, ...environment },
      workers: workers ?? context.workers,
      execArgv: [...context.execArgv, ...execArgv],
    };
    const service = keep(await startService(node === undefined ? options : { ...options, node }));
    const floor = keep(await startPeer('empty-fastify', { workers: context.workers }, { ...context, node }));
    const generator = keep(new LoadGenerator(signal));
    const { identity } = authentication;
    const job = { couponId: 'sale', identity, requests, connections };
    // The floor gets the same requests, but believes no tokens of users.
    const floorJob = { ...job, couponId: 'floor', identity: authentication === JWT ? undefined : identity };
    await service.createCoupon('sale', 2 * requests);
    let told = 2 * requests;
    // Lets compilers and caches settle.
    await measureAnswered(GRANTED, floor, generator, { ...floorJob, userPrefix: 'warm-' });
    await measureAnswered(GRANTED, service, generator, { ...job, userPrefix: 'warm-' });
    add(
      measured,
      floorOf(title),
      await measureAnswered(GRANTED, floor, generator, { ...floorJob, userPrefix: 'user-' }),
    );
    add(measured, title, await measureAnswered(GRANTED, service, generator, { ...job, userPrefix: 'user-' }));
    if (title !== ON) return await auditProblems(service, told);

    for (const { title: ofLoad, ack, coupons } of LOADS) {
      const couponId = ack ?? 'many';
      if (coupons === undefined) await service.createCoupon(couponId, requests, ack);
      for (let i = 0; i < (coupons ?? 0); i++) await service.createCoupon(`${couponId}-${i}`, requests);
      const load = { ...job, couponId, userPrefix: 'user-', ...(coupons !== undefined && { coupons }) };
      add(measured, ofLoad, await measureAnswered(GRANTED, service, generator, load));
      told += requests;
    }
    return await auditProblems(service, told);
  });
}

/** By the empty route on two workers: who hands out connections is no business of what is behind it. */
async function measureScheduling(context: PartContext, measured: Measurements): Promise<void> {
  const { requests, connections, signal } = context;
  for (const scheduling of ['kernel', 'round-robin'] as const) {
    await stoppingAll(async (keep) => {
      const server = keep(await startPeer('empty-fastify', { workers: 2, scheduling }, context));
      const generator = keep(new LoadGenerator(signal));
      const job = { couponId: 'floor', requests, connections };
      await measureAnswered(GRANTED, server, generator, { ...job, userPrefix: 'warm-' });
      const one = await measureAnswered(GRANTED, server, generator, { ...job, userPrefix: 'user-' });
      add(measured, scheduling, one);
    });
  }
}

/** Title of the floor that ran beside a variant. */
export function floorOf(title: string): string {
  return `${FLOOR_TITLE} beside ${title}`;
}

function add(measured: Measurements, title: string, one: MeasuredLoad): void {
  measured.set(title, [...(measured.get(title) ?? []), one]);
}
