// What every worker process runs. Holds nothing but the table of roles; cluster/run-worker.ts does the rest.
import type { ActorFactory, Role } from './actor.js';
import { runWorker } from './run-worker.js';

/** Loaded only in the process that plays the role: an `http` worker has no BullMQ and no Piscina in its memory. */
const ACTORS: Readonly<Record<Role, () => Promise<{ readonly createActor: ActorFactory }>>> = {
  http: () => import('./http/actor.js'),
  ledger: () => import('../workers/ledger/actor.js'),
  admin: () => import('./admin/actor.js'),
};

await runWorker(async (role) => (await ACTORS[role]()).createActor);
