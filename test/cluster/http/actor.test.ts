// An http process beside others: the kernel sends it clients from the moment it listens, so it must be able to serve them then.
import { expect, it } from 'vitest';
import { createHttpActor } from '../../../cluster/http/actor.js';
import { findFreePort } from '../../../platform/embedded/free-port.js';
import type { Actor } from '../../../cluster/actor.js';
import type { OpenPatience } from '../../../cluster/claims/epoch-watch.js';
import { Metrics } from '../../../platform/metrics/metrics.js';
import { atEndOfFile } from '../../harness/cleanup.js';
import type { Installation } from '../../harness/installation.js';
import { actorContext, createInstallation } from '../../harness/installation.js';

const PATIENCE = { firstMs: 60_000, restMs: 60_000 };
const IMPATIENT = { firstMs: 200, restMs: 10 };
const DRAIN_MS = 10_000;

async function createHttp(patience: OpenPatience): Promise<{ actor: Actor; installation: Installation; url: string }> {
  const port = await findFreePort();
  const installation = await createInstallation({ PORT: String(port) });
  const { settings, log } = installation;
  const metrics = new Metrics({ name: 'http-2', role: 'http', log });
  const actor = createHttpActor(actorContext('http-2', settings, log, metrics), patience);
  atEndOfFile(() => actor.drain(Date.now() + DRAIN_MS));
  return { actor, installation, url: `http://127.0.0.1:${port}` };
}

it('listens after a while when all shards stay closed, and says what is missing', async () => {
  const { actor, url } = await createHttp(IMPATIENT);
  await actor.start();
  expect((await fetch(`${url}/readyz`)).status).toBe(503);
  expect(actor.unreadyReasons()).not.toEqual([]);
});

it('neither waits nor listens when it is to end before it could serve', async () => {
  const { actor, url } = await createHttp(PATIENCE);
  const stopping = new AbortController();
  const started = actor.start(stopping.signal);
  stopping.abort();
  await started;
  await expect(fetch(`${url}/readyz`)).rejects.toThrow('fetch failed');
});

it('listens when every shard may be served', async () => {
  const { actor, installation, url } = await createHttp(PATIENCE);
  const { settings } = installation;
  await installation.startLedger();
  await actor.start();
  expect(actor.unreadyReasons()).toEqual([]);
  // A shard that was not open would answer 503 `fenced`.
  const answers = await Promise.all(
    Array.from({ length: settings.shardCount * 4 }, (_, i) =>
      fetch(`${url}/v1/coupons/none-${i}/claims`, {
        method: 'POST',
        headers: { 'x-user-id': 'ann' },
      }).then(({ status }) => status),
    ),
  );
  expect(new Set(answers)).toEqual(new Set([404]));
});
