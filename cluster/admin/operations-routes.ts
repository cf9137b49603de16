// What operators ask about the instance as a whole: does every invariant hold, and how are its processes.
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { AuditReport } from '../../coupons/coupons.js';
import type { Reconciliation, Repair } from '../../coupons/reconcile.js';
import { messageOf, StampedeError } from '../../platform/errors.js';
import { METRICS_CONTENT_TYPE, metricsText } from '../../platform/metrics/merge.js';
import type { ClusterLink } from '../actor.js';

const Audit = Type.Object({
  ok: Type.Boolean(),
  coupons: Type.Integer(),
  claims: Type.Integer(),
  outboxEntries: Type.Integer({ description: 'Claims, returns and changes that were not in MySQL yet.' }),
  deadLetters: Type.Integer({ description: 'Entries that MySQL did not take, kept to be tried again.' }),
  durationMs: Type.Number(),
  invariants: Type.Array(
    Type.Object({
      name: Type.String(),
      statement: Type.String(),
      checked: Type.Integer(),
      violations: Type.Integer(),
      examples: Type.Array(Type.String()),
    }),
  ),
});

const REPAIRS: readonly Repair['kind'][] = ['stock_lowered', 'row_requeued', 'return_requeued'];
const ReconciliationBody = Type.Object({
  report: Audit,
  repairs: Type.Array(
    Type.Object({
      kind: Type.Unsafe<Repair['kind']>({ type: 'string', enum: REPAIRS }),
      couponId: Type.String(),
      what: Type.String(),
    }),
  ),
});

const Processes = Type.Object({
  processes: Type.Array(
    Type.Object({
      name: Type.String(),
      role: Type.String(),
      pid: Type.Integer(),
      state: Type.String(),
      unreadyReasons: Type.Array(Type.String()),
      startedAt: Type.String({ format: 'date-time' }),
      restarts: Type.Integer(),
    }),
  ),
});

export function operationsRoutes(
  coupons: { audit(): Promise<AuditReport>; reconcile(): Promise<Reconciliation> },
  cluster: ClusterLink,
): FastifyPluginCallbackTypebox {
  return (app, _options, done) => {
    app.get(
      '/v1/audit',
      {
        config: { problems: ['unauthenticated', 'unavailable', 'fenced'] },
        schema: {
          summary: 'Check every invariant over Redis, outbox and MySQL',
          description: '200 whether they hold or not: `ok` says so.',
          tags: ['operations'],
          response: { 200: Audit },
        },
      },
      async () => {
        return auditBody(await coupons.audit());
      },
    );

    app.post(
      '/v1/reconciliations',
      {
        config: {
          problems: [
            ...(['unauthenticated', 'fenced', 'unavailable', 'outcome_unknown'] as const),
            ...(['invalid_json', 'invalid_body', 'body_too_large', 'unsupported_media_type'] as const),
          ],
        },
        schema: {
          summary: 'Check every invariant now, and repair what is safe to repair',
          description:
            'Repair lowers remaining stock to what is left of the total, and puts rows that MySQL is missing into the ' +
            'outbox again. The same is done every minute.',
          tags: ['operations'],
          response: { 200: ReconciliationBody },
        },
      },
      async () => {
        const { report, repairs } = await coupons.reconcile();
        return { report: auditBody(report), repairs: [...repairs] };
      },
    );

    app.get(
      '/v1/processes',
      {
        config: { problems: ['unauthenticated', 'unavailable'] },
        schema: {
          summary: 'Every process of the instance, as the primary sees it',
          tags: ['operations'],
          response: { 200: Processes },
        },
      },
      async () => {
        const processes = await ofPrimary(cluster.processes());
        return {
          processes: processes.map((status) => ({ ...status, startedAt: new Date(status.startedAt).toISOString() })),
        };
      },
    );

    app.get(
      '/metrics',
      {
        config: { problems: ['unauthenticated', 'unavailable'] },
        schema: {
          summary: 'The metrics of every process of the instance',
          description:
            'In the text format of Prometheus. A process that hangs is left out and counted in ' +
            '`stampede_silent_processes`; what processes counted that have ended stays in the totals.',
          tags: ['operations'],
          response: { 200: { content: { 'text/plain': { schema: Type.String() } } } },
        },
      },
      async (_request, reply) => {
        const text = await metricsText(await ofPrimary(cluster.metrics()));
        return reply.type(METRICS_CONTENT_TYPE).send(text);
      },
    );
    done();
  };
}

async function ofPrimary<T>(answer: Promise<T>): Promise<T> {
  return await answer.catch((error: unknown) => {
    throw new StampedeError('unavailable', `The primary does not answer: ${messageOf(error)}`, {}, error);
  });
}

function auditBody(report: AuditReport) {
  return { ...report, invariants: report.invariants.map((one) => ({ ...one, examples: [...one.examples] })) };
}
