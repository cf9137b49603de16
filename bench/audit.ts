// The service's own audit after a measurement: what it finds, as the problems of a part.
import type { AuditReport } from '../coupons/coupons.js';
import type { Service } from './service.js';

/** Sentences; none when every invariant holds. `told`: claims that users were told of, no fewer are in the ledger. */
export async function auditProblems(service: Pick<Service, 'admin'>, told: number): Promise<string[]> {
  const report = JSON.parse(await service.admin('GET', '/v1/audit')) as AuditReport;
  const broken = report.invariants.filter(({ violations }) => violations > 0);
  const problems = broken.map(({ name, violations, examples }) => {
    return `the audit found ${name} violated ${violations} times: ${examples[0] ?? ''}`;
  });
  if (!report.ok && problems.length === 0) problems.push('the audit failed');
  if (report.claims < told) problems.push(`the audit counted ${report.claims} claims, and ${told} were told`);
  return problems;
}
