// Runs schedules, one per seed, until an invariant breaks. The same seed gives the same schedule, and its trace.
import { FaultPlan } from './fault-plan.js';
import type { Rule } from './rules.js';
import { Rules } from './rules.js';
import { Setting } from './setting.js';
import type { Story } from './stories.js';
import { Violation } from './world.js';

/** Steps with faults; then everything must come to rest within the second number. */
const FAULTY_STEPS_MAX = 500;
const CALM_STEPS_MAX = 5_000;

export interface Run {
  readonly seed: number;
  readonly steps: number;
  readonly losses: number;
  readonly violation: string | undefined;
  readonly trace: readonly string[];
}

export interface SearchOptions {
  /** The one rule that is broken. */
  readonly broken?: Rule | undefined;
  /** Every schedule tells this story. Without it, every second one tells one of them. */
  readonly story?: Story | undefined;
}

/** One schedule. Throws only what is a defect of the model itself. */
export function runSchedule(seed: number, options: SearchOptions & { traced?: boolean } = {}): Run {
  const setting = new Setting(seed, new Rules(options.broken), options.traced ?? false);
  const { world, checks } = setting;
  let violation: string | undefined;
  try {
    schedule(setting, new FaultPlan(setting, options.story));
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    violation = error.message;
    world.note('CHECK', () => error.message);
  }
  return { seed, steps: world.steps, losses: checks.losses, violation, trace: world.trace ?? [] };
}

function schedule(setting: Setting, faults: FaultPlan): void {
  const { world, checks } = setting;
  const length = world.chance.between(faults.lengthMin, FAULTY_STEPS_MAX);
  while (world.steps < length) {
    faults.beforeStep();
    world.step();
  }
  setting.calm();
  for (let left = CALM_STEPS_MAX; !setting.atRest; left--) {
    world.step();
    if (left === 0) {
      const { shard } = setting.mysql;
      throw new Violation(`I8: not at rest: the shard is ${shard.state} under epoch ${shard.epoch}`);
    }
  }
  checks.atTheEnd(
    setting.master,
    setting.workersAlive().map(({ name }) => name),
  );
}

export interface Found {
  readonly schedules: number;
  readonly steps: number;
  /** Told claims and returns that fell into the loss window of level `redis`. */
  readonly losses: number;
  readonly failed: Run | undefined;
}

/** Tries seeds from `first` on; stops at the first violation. */
export function search(first: number, count: number, options: SearchOptions = {}): Found {
  let steps = 0;
  let losses = 0;
  for (let seed = first; seed < first + count; seed++) {
    const run = runSchedule(seed, options);
    steps += run.steps;
    losses += run.losses;
    if (run.violation !== undefined) return { schedules: seed - first + 1, steps, losses, failed: run };
  }
  return { schedules: count, steps, losses, failed: undefined };
}

/** A failing schedule, for people to read. */
export function tell(run: Run, options: SearchOptions = {}): string {
  const { trace } = runSchedule(run.seed, { ...options, traced: true });
  return [`seed ${run.seed}: ${run.violation ?? 'nothing broken'}`, ...trace].join('\n');
}
