// Opening a port that somebody else is just letting go of.
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { createHttpServer } from '../../../cluster/http/http-server.js';
import { drain, listen } from '../../../cluster/http/listener.js';
import { readSettings } from '../../../platform/settings.js';
import { atEndOfFile } from '../../harness/cleanup.js';
import { MapClaims, recordingLog } from './public-api.js';

it('waits for a predecessor that still has the port', async () => {
  const predecessor = createServer();
  predecessor.listen(0, '127.0.0.1');
  await once(predecessor, 'listening');
  const { port } = predecessor.address() as AddressInfo;

  const { log } = recordingLog();
  const api = createHttpServer({ settings: readSettings({}), log, claims: new MapClaims() });
  atEndOfFile(() => drain(api, Date.now()));
  await api.app.ready();
  const refused = once(api.app.server, 'error');
  const listening = listen(api.app, { host: '127.0.0.1', port, hostVariable: 'HOST', portVariable: 'PORT' });
  expect(((await refused)[0] as NodeJS.ErrnoException).code).toBe('EADDRINUSE');
  predecessor.close();
  await listening;
  expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
});
