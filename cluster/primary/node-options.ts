// With which options of Node the workers of a role run.
import { pathToFileURL } from 'node:url';
import { packagePath } from '../../platform/package-root.js';
import type { Role } from '../actor.js';

/** Comes before whatever else a process or thread loads, as it has to. */
const KEEPS_A_TICK = `--import=${pathToFileURL(packagePath('dist', 'platform', 'next-tick.js')).href}`;

/**
 * An `http` worker makes some 20 KB of garbage per claim. What survives a collection is what is in flight, however much
 * garbage there is, so fewer collections cost less: docs/decisions/0012-http-workers-have-a-large-nursery.md. The least size is
 * the largest, because V8 grows a nursery by what survives, and so little survives that it stays small for as long as it happens to.
 *
 * Nothing is allocated outside the nursery by V8's guess that it will live long: the guess comes true once, when many connections
 * are opened together, and then keeps the garbage of every later claim alive (docs/decisions/0017-nothing-is-tenured-at-birth.md).
 */
export const NODE_OPTIONS_OF_ROLE: Readonly<Record<Role, readonly string[]>> = {
  http: ['--max-semi-space-size=64', '--min-semi-space-size=64', '--no-allocation-site-pretenuring', KEEPS_A_TICK],
  ledger: [KEEPS_A_TICK],
  admin: [KEEPS_A_TICK],
};
