// The acknowledgement level `replica` at the peak, on a service of its own whose Redis has a replica. What the replica takes of the
// machine is in everything that is measured there, so level `redis` is measured there as well.
import { auditProblems } from './audit.js';
import { LoadGenerator } from './load-generator.js';
import type { PartContext } from './part.js';
import type { AtPeak } from './peak.js';
import { measurePeak } from './peak.js';
import { startPrivateRedis, startPrivateReplica } from './private-servers.js';
import { firstRound } from './rounds.js';
import { PATIENT, startService } from './service.js';
import { stoppingAll } from './started.js';

/** Of a service whose Redis has a replica. */
export const LEVELS_BESIDE_REPLICA = ['redis', 'replica'] as const;
type LevelBesideReplica = (typeof LEVELS_BESIDE_REPLICA)[number];
export type ReplicaRound = Readonly<Record<LevelBesideReplica, AtPeak>>;

export interface ReplicaMeasured {
  readonly rounds: readonly ReplicaRound[];
  readonly problems: readonly string[];
}

export async function measureReplicaLevel(
  context: PartContext,
  sizes: { readonly claims: number; readonly connections: number },
): Promise<ReplicaMeasured> {
  return await stoppingAll(async (keep) => {
    context.report('starting a Redis with a replica and a service');
    const master = keep(await startPrivateRedis({}, context));
    keep(await startPrivateReplica(master, context));
    const environment = { ...PATIENT, REDIS_URL: master.url, REPLICA_COUNT: '1' };
    const service = keep(await startService({ ...context, environment }));
    const load = keep(new LoadGenerator(context.signal));
    const problems: string[] = [];
    let claims = 0;
    const at = async (ack: LevelBesideReplica, round: number): Promise<AtPeak> => {
      const { peak, complaints } = await measurePeak(service, load, {
        couponId: `peak-${ack}-${round}`,
        ack,
        ...sizes,
      });
      problems.push(...complaints);
      claims += sizes.claims;
      return peak;
    };
    const rounds: ReplicaRound[] = [];
    for (let round = firstRound(context); round <= context.rounds; round++) {
      context.report(`beside a replica: ${round === 0 ? 'warming up' : `round ${round} of ${context.rounds}`}`);
      const measured = { redis: await at('redis', round), replica: await at('replica', round) };
      if (round > 0) rounds.push(measured);
    }
    return { rounds, problems: [...problems, ...(await auditProblems(service, claims))] };
  });
}
