// Stampede under pm2 (6 or newer): `npm ci && npm run build && pm2 start ecosystem.config.js --env production`.
// docs/deploy.md says what to know beyond this file. Secrets and addresses come from the environment of that command.
//
// Stampede supervises its own workers, so pm2 runs one process, the primary, and must leave the others to it: it alone knows
// the order in which they may end. `pm2 trigger stampede reload` replaces the workers without a failed request; for a program in
// fork mode `pm2 reload` is a restart.

/** The roles drain one after the other, each within this; then the private servers stop. */
const DRAIN_TIMEOUT_MS = Number(process.env.DRAIN_TIMEOUT_MS || 20_000);
const ROLES = 3;
const SERVERS_STOP_MS = 60_000;
/** A first start may install two Debian packages, and a start waits for databases that are away. Then pm2 goes on as if ready. */
const READY_TIMEOUT_MS = 300_000;

export const apps = [
  {
    name: 'stampede',
    script: 'bin/stampede.js',
    args: 'start',
    cwd: import.meta.dirname,

    exec_mode: 'fork',
    instances: 1,

    // The word `ready` comes when every worker is.
    wait_ready: true,
    listen_timeout: READY_TIMEOUT_MS,

    // Signals go to the primary alone: with treekill pm2 would end the workers under its hands.
    treekill: false,
    kill_timeout: ROLES * DRAIN_TIMEOUT_MS + SERVERS_STOP_MS,

    autorestart: true,
    exp_backoff_restart_delay: 100,
    // A wrong setting, a wrong command line: no restart can help (cluster/exit-codes.ts).
    stop_exit_codes: [64, 78],

    // It would see the primary alone, which stays small, and restart everything. WORKER_MEMORY_MAX_MB is per worker.
    // max_memory_restart: unset

    // One JSON object a line, with its own time. `pm2 install pm2-logrotate`, or logrotate with `pm2 reloadLogs`.
    merge_logs: true,
    time: false,

    // Neither pm2's agent in the process nor its look at git.
    pmx: false,
    vizion: false,

    env: { NODE_ENV: 'development' },
    env_production: { NODE_ENV: 'production', WORKER_MEMORY_MAX_MB: '1024' },
  },
];
