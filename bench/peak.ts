// The peak of a service at one acknowledgement level: what connections reach that ask again when they are answered.
import { complaintsOf } from './load-generator.js';
import type { LoadSource } from './load-job.js';
import type { Service } from './service.js';

export interface AtPeak {
  /** Answers. */
  readonly perSecond: number;
  /** Answers, until the last one's row is in MySQL: what the service can keep up. */
  readonly writtenPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface PeakJob {
  /** A new one; it is made. */
  readonly couponId: string;
  readonly ack: string;
  readonly claims: number;
  readonly connections: number;
}

/** Nobody else may use the service meanwhile. */
export async function measurePeak(
  service: Service,
  load: LoadSource,
  { couponId, ack, claims, connections }: PeakJob,
): Promise<{ readonly peak: AtPeak; readonly complaints: readonly string[] }> {
  await service.createCoupon(couponId, claims, ack);
  await load.connect({ url: service.url, couponId, userPrefix: 'user-', requests: claims, connections });
  const startedAt = performance.now();
  const result = await load.go();
  await service.databases.whenWritten();
  const writtenMs = performance.now() - startedAt;
  const peak = {
    perSecond: (claims / result.durationMs) * 1_000,
    writtenPerSecond: (claims / writtenMs) * 1_000,
    p50Ms: result.latencyMs.p50,
    p99Ms: result.latencyMs.p99,
  };
  return { peak, complaints: complaintsOf(couponId, result, '201 claimed') };
}
