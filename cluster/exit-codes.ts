// The one table of exit codes of `stampede` and its processes. Nothing else in the project writes a number here.

export const EXIT = {
  ok: 0,
  /** A command failed; also a worker that met an unexpected error, which the primary starts again. */
  failed: 1,
  /** `stampede audit` could not ask: the service does not answer. Not to be taken for a violated invariant, which is 1. */
  unreachable: 2,
  /** The drain was not complete: a process had to be killed at its deadline, died, or waited for its restart. */
  drainIncomplete: 3,
  /** A second SIGINT or SIGTERM cut the drain short. */
  hurried: 4,
  /** The command line is wrong (EX_USAGE of sysexits.h). */
  usage: 64,
  /** An embedded server could not be kept running (EX_UNAVAILABLE). */
  serverFailed: 69,
  /** One place of the cluster died again and again before it ever started (EX_SOFTWARE). */
  crashLoop: 70,
  /** A setting is wrong, or a port is taken: no restart can help (EX_CONFIG). */
  configuration: 78,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];
