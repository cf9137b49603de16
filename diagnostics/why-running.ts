// A preload for development: `WHY_RUNNING=ledger-1 NODE_OPTIONS='--import stampede/diagnostics/why-running' npm start` loads
// why-is-node-running in the one process of that name (STAMPEDE_NAME; `self`: in one that has none), and in no other, because it makes
// a program about ten times slower. SIGUSR2 prints what keeps the process alive, with the stacks that made it; once, then it
// has switched itself off. Not for production: there the recorder tells the same (`/debug/handles`, `/debug/async`).
const { WHY_RUNNING, STAMPEDE_NAME = 'self' } = process.env;

if (WHY_RUNNING === STAMPEDE_NAME) {
  const { default: whyIsNodeRunning } = await import('why-is-node-running');
  process.once('SIGUSR2', () => {
    whyIsNodeRunning();
  });
}
