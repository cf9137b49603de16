// When which fault comes: drawn from the seed. Half of the schedules tell a story (stories.ts), the others have a theme.
import type { Fault } from './faults.js';
import {
  abandonRequest,
  byHand,
  cut,
  disaster,
  disturbMessage,
  failBack,
  failOver,
  forgetKeys,
  holdMessage,
  killLedger,
  killOperator,
  killWorker,
  leaveWorker,
  letGo,
  mend,
  pauseOne,
  pauseOperators,
  pauseRedis,
  reroute,
  restartRedis,
  resumeOne,
  silenceWorker,
  splitOver,
  stopRebuilder,
} from './faults.js';
import type { Setting } from './setting.js';
import type { Moment, Story, StoryStep } from './stories.js';
import { always, MOMENTS, STORIES } from './stories.js';

const ANY: readonly Fault[] = [
  pauseOne,
  resumeOne,
  pauseRedis,
  killWorker,
  killLedger,
  killOperator,
  leaveWorker,
  restartRedis,
  forgetKeys,
  failOver,
  failBack,
  reroute,
  cut,
  mend,
  disturbMessage,
  abandonRequest,
  holdMessage,
  letGo,
  byHand,
  stopRebuilder,
  disaster,
];

/** What a schedule is mostly about: a search that always mixes everything finds less. */
const THEMES: readonly (readonly Fault[])[] = [
  ANY,
  // There and back, with some on either side.
  [splitOver, failBack, splitOver, failBack, reroute, silenceWorker, abandonRequest, stopRebuilder],
  // Those who know are silent when Redis forgets, and come late.
  [silenceWorker, silenceWorker, restartRedis, failOver, resumeOne, resumeOne, abandonRequest, byHand],
  // Rebuilds broken off.
  [stopRebuilder, stopRebuilder, stopRebuilder, resumeOne, splitOver, failBack, restartRedis, holdMessage, byHand],
  // Slow messages, slow operators.
  [
    holdMessage,
    holdMessage,
    letGo,
    disturbMessage,
    pauseOperators,
    resumeOne,
    restartRedis,
    failOver,
    byHand,
    disaster,
  ],
];

/** Steps with faults. */
const STEPS_MIN = 60;
const STORY_STEPS_MIN = 250;
/** So long a plan waits for its moment; then it goes on without. */
const PATIENCE_STEPS = 80;

interface Plan {
  readonly moment: Moment;
  /** Steps that are waited for the moment, and steps after it. */
  patience: number;
  delay: number;
  readonly fault: Fault;
}

export class FaultPlan {
  readonly #setting: Setting;
  readonly #known: readonly Fault[];
  readonly #rate: number;
  /** One after the other as a story, or each by itself. */
  readonly #story: boolean;
  #plans: Plan[];

  constructor(setting: Setting, told?: Story) {
    this.#setting = setting;
    const { chance } = setting.world;
    const theme = chance.pick(THEMES) ?? ANY;
    const share = chance.pick([0.4, 0.8, 1]) ?? 1;
    this.#known = [...theme.filter(() => chance.happens(share)), ...ANY.filter(() => chance.happens(0.05))];
    const drawn = chance.happens(0.5) ? chance.pick(Object.keys(STORIES) as Story[]) : undefined;
    const name = told ?? drawn;
    const story: readonly StoryStep[] | undefined = name && STORIES[name];
    if (name !== undefined) setting.world.note('story', () => name);
    this.#story = story !== undefined || chance.happens(0.3);
    this.#rate = chance.pick(story ? [0, 0, 0, 0.01] : [0, 0.01, 0.03, 0.06]) ?? 0;
    const length = story?.length ?? chance.between(2, 10);
    this.#plans = Array.from({ length }, (_, i) => ({
      moment: story?.[i]?.[0] ?? chance.pick(MOMENTS) ?? always,
      patience: PATIENCE_STEPS,
      delay: chance.between(0, story?.[i]?.[2] ?? chance.pick([0, 3, 20]) ?? 3),
      fault: story?.[i]?.[1] ?? chance.pick(this.#known) ?? disaster,
    }));
  }

  /** A story needs some time. */
  get lengthMin(): number {
    return this.#story ? STORY_STEPS_MIN : STEPS_MIN;
  }

  beforeStep(): void {
    const setting = this.#setting;
    const { chance } = setting.world;
    if (chance.happens(this.#rate)) chance.pick(this.#known)?.(setting);
    for (const plan of this.#story ? this.#plans.slice(0, 1) : this.#plans) {
      if (!plan.moment(setting) && plan.patience-- > 0) continue;
      if (plan.delay-- > 0) continue;
      this.#plans = this.#plans.filter((other) => other !== plan);
      plan.fault(setting);
    }
  }
}
