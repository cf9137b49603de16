// The jobs that tell a receiver of events by HTTP: one looks for what there is to tell, one sends a single event, signed, and
// is tried again with backoff until the receiver has taken it. An event may arrive more than once, or late: receivers know it
// by its id.
import { createHmac } from 'node:crypto';
import type { ChangeContext } from '../../coupons/changes.js';
import { findEvents, markDelivered, readEventBody, readUndelivered } from '../../coupons/events.js';
import type { Log } from '../../platform/log.js';
import type { Pool } from '../../platform/mysql.js';
import type { RequestedJob, ScheduledJob } from './jobs.js';

const EVERY_MS = 2_000;
const WAITING_MAX = 1_000;
/** With the delays of `BACKOFF_MS`, doubled each time, the last attempt is some nine hours after the first. */
const ATTEMPTS = 16;
const BACKOFF_MS = 1_000;
/** From connecting to the end of the answer's head. */
const RECEIVER_LIMIT_MS = 10_000;

const DELIVER = 'deliver-event';

export interface Receiver {
  readonly url: string;
  readonly secret: string;
}

/** `request` has the job `deliver-event` done for an id. */
export function findEventsJob(
  context: ChangeContext,
  log: Log,
  request: (name: string, eventId: string) => Promise<void>,
): ScheduledJob {
  return {
    name: 'find-events',
    everyMs: EVERY_MS,
    run: async () => {
      const found = await findEvents(context);
      if (found > 0) log.info({ found }, 'events to tell of');
      // All of them every time: a Redis that has lost its data has lost the jobs, too.
      for (const eventId of await readUndelivered(context.mysql, WAITING_MAX)) await request(DELIVER, eventId);
    },
  };
}

export function deliverEventJob(mysql: Pool, receiver: Receiver): RequestedJob {
  return {
    name: DELIVER,
    attempts: ATTEMPTS,
    backoffMs: BACKOFF_MS,
    run: async (eventId) => {
      const body = await readEventBody(mysql, String(eventId));
      if (body === undefined) return;
      await send(receiver, String(eventId), body);
      await markDelivered(mysql, String(eventId));
    },
  };
}

async function send({ url, secret }: Receiver, eventId: string, body: string): Promise<void> {
  const timestamp = String(Math.floor(Date.now() / 1_000));
  const response = await fetch(url, {
    method: 'POST',
    body,
    headers: {
      'content-type': 'application/json',
      'stampede-event-id': eventId,
      'stampede-timestamp': timestamp,
      'stampede-signature': `v1=${signatureOf(secret, timestamp, body)}`,
    },
    redirect: 'error',
    signal: AbortSignal.timeout(RECEIVER_LIMIT_MS),
  });
  await response.body?.cancel();
  if (!response.ok) throw new Error(`the receiver of events answered ${response.status}`);
}

/** HMAC-SHA256 over time and body, so that neither can be exchanged; in hexadecimal. */
function signatureOf(secret: string, timestamp: string, body: string): string {
  return createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex');
}
