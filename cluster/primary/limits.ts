// The numbers of supervision, with their units and reasons. Tests pass shorter ones in; nothing reads them from the environment.

export interface SupervisionLimits {
  /** Mean-doubling wait before a restart: at most `backoffMinMs` × 2ⁿ after n deaths, never above `backoffMaxMs`. */
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  /** A process that ran this long has proven itself: its death starts the backoff from the beginning. */
  readonly stableAfterMs: number;
  /** Deaths in a row in one place, none of them of a process that had started, that end the primary. */
  readonly deathsBeforeStartMax: number;
  readonly heartbeatIntervalMs: number;
  /** Pings without any answer after which a process counts as hung. Pings, not time: a suspended machine is not a hung process. */
  readonly heartbeatMissesMax: number;
  /** A start that takes longer is logged. It is not a death: the heartbeat judges whether the process lives. */
  readonly slowStartMs: number;
  /** How long a reload waits for a new process to be ready. */
  readonly reloadReadyMs: number;
  /** Pongs in a row above WORKER_MEMORY_MAX_MB after which a worker is replaced. */
  readonly memoryPongsMin: number;
  /** A worker is not judged sooner, nor again sooner. */
  readonly memoryPauseMs: number;
}

export const SUPERVISION_LIMITS: SupervisionLimits = {
  backoffMinMs: 100,
  backoffMaxMs: 10_000,
  stableAfterMs: 30_000,
  // With full jitter about 15 s: long enough for a port or a file that is slow to go away.
  deathsBeforeStartMax: 10,
  heartbeatIntervalMs: 1_000,
  // 30 s: a full garbage collection of a large heap, or a machine that is out of breath, takes seconds. Who is to stand still for longer says so.
  heartbeatMissesMax: 30,
  slowStartMs: 30_000,
  reloadReadyMs: 30_000,
  memoryPongsMin: 10,
  memoryPauseMs: 60_000,
};

/** What a worker is told is this much earlier than the SIGKILL, so that one which uses all its time still ends by itself. */
export const KILL_GRACE_MS = 500;
