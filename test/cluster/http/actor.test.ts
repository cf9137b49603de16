// An http process beside others: the kernel sends it clients from the moment it listens, so it must be able to serve them then.
import { expect, it } from 'vitest';
import { createActor } from '../../../cluster/http/actor.js';
import { findFreePort } from '../../../platform/embedded/free-port.js';
import { Metrics } from '../../../platform/metrics/metrics.js';
import { atEndOfFile } from '../../harness/cleanup.js';
import { actorContext, createInstallation } from '../../harness/installation.js';

const SHORT_MS = 10;
const DRAIN_MS = 10_000;

it('listens when every shard may be served, or after a while when they stay closed', async () => {
  const installation = await createInstallation({ PORT: String(await findFreePort()) });
  const { settings, log } = installation;
  const early = await installation.startClaims({}, undefined, ['epochs_unknown']);
  await early.whenOpen(SHORT_MS);
  expect(early.unreadyReasons()).toEqual(['epochs_unknown']);

  await installation.startLedger();
  const actor = createActor(actorContext('http-2', settings, log, new Metrics({ name: 'http-2', role: 'http', log })));
  atEndOfFile(() => actor.drain(Date.now() + DRAIN_MS));
  await actor.start();
  expect(actor.unreadyReasons()).toEqual([]);
  // A shard that was not open would answer 503 `fenced`.
  const answers = await Promise.all(
    Array.from({ length: settings.shardCount * 4 }, (_, i) =>
      fetch(`http://127.0.0.1:${settings.port}/v1/coupons/none-${i}/claims`, {
        method: 'POST',
        headers: { 'x-user-id': 'ann' },
      }).then(({ status }) => status),
    ),
  );
  expect(new Set(answers)).toEqual(new Set([404]));
});
