// Time and chance of the model: processes made of step machines, messages that travel, and a seeded scheduler that moves
// one of them at a time. What happens between two yields of a generator is atomic; everything else may interleave, pause,
// get lost or never go on. Knows nothing of the protocol.

/** A step machine. It yields where another may move, with the condition under which it can go on. */
export type Steps<T = void> = Generator<(() => boolean) | undefined, T, unknown>;

/** The answer to a call is lost, or came too late: it may have been carried out, or may still be. */
export class Lost extends Error {}

/** An invariant does not hold. */
export class Violation extends Error {}

/** Numbers from a seed: the same seed, the same schedule (mulberry32). */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
    for (let i = 0; i < 4; i++) this.next();
  }

  /** 0 ≤ number < 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  happens(probability: number): boolean {
    return this.next() < probability;
  }

  /** An integer, both ends included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  pick<T>(from: readonly T[]): T | undefined {
    return from[Math.floor(this.next() * from.length)];
  }
}

export class Process {
  readonly name: string;
  /** Share of the scheduler's attention: some processes are slow. */
  readonly pace: number;
  alive = true;
  paused = false;
  /** Servers that its messages do not reach for the time being. */
  readonly cutFrom = new Set<Server>();

  constructor(name: string, pace: number) {
    this.name = name;
    this.pace = pace;
  }
}

/** What answers calls. A restart is a new incarnation: what was on its way to the old one is lost. */
export interface Server {
  readonly name: string;
  readonly up: boolean;
  readonly paused: boolean;
  readonly incarnation: number;
}

interface Task {
  readonly process: Process;
  readonly steps: Steps;
  ready: (() => boolean) | undefined;
}

interface Message {
  readonly to: Server;
  readonly incarnation: number;
  readonly pace: number;
  readonly what: string;
  readonly from: Process;
  readonly run: () => void;
  state: 'under way' | 'answered' | 'lost';
  /** The caller waits no longer. The message may arrive all the same. */
  givenUp: boolean;
  /** Stays on its way until it is let go, or calm comes. */
  held: boolean;
}

const PACES = [1, 1, 0.3, 0.05];

export class World {
  readonly chance: Chance;
  readonly trace: string[] | undefined;
  steps = 0;
  /** While true nothing is slow, lost or given up: what is left must come to an end. */
  calm = false;
  /** Probability that an answer is lost after the request was carried out. */
  replyLoss = 0;
  #tasks: Task[] = [];
  #messages: Message[] = [];
  #toHold: string[] = [];
  readonly #check: () => void;

  constructor(seed: number, options: { traced: boolean; check: () => void }) {
    this.chance = new Chance(seed);
    this.trace = options.traced ? [] : undefined;
    this.#check = options.check;
  }

  note(who: string, what: () => string): void {
    this.trace?.push(`${String(this.steps).padStart(4)}  ${who.padEnd(6)} ${what()}`);
  }

  process(name: string): Process {
    return new Process(name, this.chance.pick(PACES) ?? 1);
  }

  spawn(process: Process, steps: Steps): void {
    this.#tasks.push({ process, steps, ready: undefined });
  }

  /** Sends a request and waits for the answer. Throws `Lost`. `body` runs in one atomic step, at the server. */
  *call<T>(from: Process, to: Server, what: string, body: () => T): Steps<T> {
    let result: { value: T } | undefined;
    const message: Message = {
      to,
      from,
      what,
      incarnation: to.incarnation,
      pace: this.chance.pick(PACES) ?? 1,
      run: () => {
        result = { value: body() };
      },
      state: 'under way',
      givenUp: false,
      held: false,
    };
    this.#messages.push(message);
    const kind = this.#toHold.find((kind) => what.startsWith(kind));
    if (kind !== undefined) {
      this.#toHold = this.#toHold.filter((other) => other !== kind);
      this.#hold(message);
    }
    yield () => message.state !== 'under way' || message.givenUp;
    if (result === undefined || message.givenUp) throw new Lost(what);
    return result.value;
  }

  /** A message under way is lost, or its caller gives up although it is still on its way, or was carried out. */
  disturbMessage(): void {
    const message = this.chance.pick(this.#messages);
    if (message === undefined) return;
    message.givenUp = true;
    if (this.chance.happens(0.3)) message.state = 'lost';
    this.note('net', () => `${message.from.name} gives up on: ${message.what} (${message.state})`);
  }

  /** A message under way is held up; its caller waits, or gives up later. */
  holdMessage(): void {
    const message = this.chance.pick(this.#messages.filter(({ held }) => !held));
    if (message !== undefined) this.#hold(message);
  }

  /** The next message of this kind is held up. */
  holdNext(kind: string): void {
    this.#toHold.push(kind);
  }

  #hold(message: Message): void {
    message.held = true;
    this.note('net', () => `held up: ${message.from.name}: ${message.what}`);
  }

  letGo(): void {
    const message = this.chance.pick(this.#messages.filter(({ held }) => held));
    if (message !== undefined) message.held = false;
  }

  /** Moves one task or message, if any can move: time goes on all the same. */
  step(): void {
    this.steps++;
    let weight = 0;
    const candidates: (Task | Message)[] = [];
    const weights: number[] = [];
    for (const message of this.#messages) {
      const { to } = message;
      const arrives = !to.up || to.incarnation !== message.incarnation || !to.paused;
      if (!arrives || ((message.held || message.from.cutFrom.has(to)) && !this.calm)) continue;
      weight += this.calm ? 1 : message.pace;
      candidates.push(message);
      weights.push(weight);
    }
    for (const task of this.#tasks) {
      const { process } = task;
      if (process.paused || !process.alive || task.ready?.() === false) continue;
      weight += this.calm ? 1 : process.pace;
      candidates.push(task);
      weights.push(weight);
    }
    if (candidates.length === 0) return;
    const point = this.chance.next() * weight;
    const chosen = candidates[weights.findIndex((w) => w > point)];
    if (chosen === undefined) return;
    if ('to' in chosen) this.#arrive(chosen);
    else this.#advance(chosen);
    this.#check();
  }

  #arrive(message: Message): void {
    this.#messages = this.#messages.filter((other) => other !== message);
    const { to } = message;
    if (message.state === 'lost') return;
    if (!to.up || to.incarnation !== message.incarnation) {
      message.state = 'lost';
      return;
    }
    const before = this.trace?.length;
    message.run();
    message.state = 'answered';
    if (!this.calm && this.chance.happens(this.replyLoss)) {
      message.givenUp = true;
      this.note('net', () => `the answer to ${message.from.name} is lost: ${message.what}`);
    }
    if (before === this.trace?.length) this.note(message.from.name, () => `${message.what} @${to.name}`);
  }

  #advance(task: Task): void {
    const { done, value } = task.steps.next();
    task.ready = value ?? undefined;
    if (done === true || !task.process.alive) this.#tasks = this.#tasks.filter((other) => other !== task);
  }

  /** Processes that wait for an answer. */
  waiting(process: Process): boolean {
    return this.#messages.some(({ from }) => from === process);
  }

  /** A killed process does nothing more; what it has sent may still arrive. */
  kill(process: Process): void {
    process.alive = false;
    this.#tasks = this.#tasks.filter((task) => task.process !== process);
  }
}
