// The preload: `node --import stampede/diagnostics/register app.js` gives any Node program the agent, nothing else needed.
// Children made by `fork` and `worker_threads` inherit the preload and get their own.
import { startDiagnostics } from './start.js';

startDiagnostics();
