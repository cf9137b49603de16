// The preload: `node --import stampede/diagnostics/register app.js` gives any Node program the agent, nothing else needed.
// Children made by `fork` and `worker_threads` inherit the preload and get their own.
import path from 'node:path';
import { startDiagnostics } from './start.js';

/** Rules by which evidence is saved in this folder below the working directory (docs/diagnostics.md). */
const RULES_VARIABLE = 'STAMPEDE_DEBUG_COLLECT';
const COLLECTED = path.join('.stampede', 'collected');

const rules = process.env[RULES_VARIABLE];
try {
  startDiagnostics(rules === undefined ? {} : { collection: { rules, folder: COLLECTED } });
} catch (error) {
  // The program matters more: it runs on with an agent that saves nothing.
  process.emitWarning(`${RULES_VARIABLE}: ${String(error)}`, { type: 'StampedeDiagnostics' });
  startDiagnostics();
}
