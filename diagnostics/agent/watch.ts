// Asks the main thread for its vital signs and for the recorder's samples at a steady pace, keeps the last minutes of the
// former and feeds the latter to the detector. Runs in the diagnostics thread: the program pays only for answering.
import type { Observation } from '../collection/collector.js';
import type { Detector } from '../detector/detector.js';
import type { LeakReport } from '../model.js';
import type { VitalSigns } from './messages.js';
import { MainThreadBlocked } from './main-link.js';
import type { MainLink } from './main-link.js';
import type { ProcessSnapshots } from './process-snapshots.js';

const VITALS_EVERY_MS = 2_000;
/** Ten minutes of vital signs: some 100 KB. */
const VITALS_KEPT_MAX = 300;
/** At the most; of a short window an eighth, so that every sixth of it, which the detector looks at, holds one. */
const SNAPSHOT_EVERY_MS = 5_000;
const SNAPSHOTS_PER_WINDOW = 8;
const ANSWER_TIMEOUT_MS = 1_000;

export interface WatchOptions {
  readonly link: MainLink;
  readonly snapshots: ProcessSnapshots;
  readonly detector: Detector;
  /** Of the detector. */
  readonly windowMs?: number | undefined;
  /** Told of every reading, also of one that the main thread was too blocked to give. */
  readonly observe?: ((observation: Observation) => Promise<void>) | undefined;
}

export class Watch {
  readonly #link: MainLink;
  readonly #snapshots: ProcessSnapshots;
  readonly #detector: Detector;
  readonly #snapshotEveryMs: number;
  readonly #observe: (observation: Observation) => Promise<void>;
  readonly #vitals: VitalSigns[] = [];
  readonly #timers: NodeJS.Timeout[] = [];
  #detectorError: string | undefined;

  constructor({ link, snapshots, detector, windowMs = Infinity, observe }: WatchOptions) {
    this.#link = link;
    this.#snapshots = snapshots;
    this.#detector = detector;
    this.#observe = observe ?? (() => Promise.resolve());
    this.#snapshotEveryMs = Math.min(SNAPSHOT_EVERY_MS, windowMs / SNAPSHOTS_PER_WINDOW);
  }

  start(): void {
    this.#timers.push(
      setInterval(() => this.#look(async () => this.#readVitals()), VITALS_EVERY_MS),
      setInterval(() => this.#look(async () => this.#readSnapshot()), this.#snapshotEveryMs),
    );
    this.#look(async () => this.#readVitals());
  }

  stop(): void {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
  }

  /** Oldest first. Where the main thread was blocked there is a gap, and the reading after it covers that time. */
  vitals(): readonly VitalSigns[] {
    return this.#vitals;
  }

  /** @throws Error when the last sample could not be judged. */
  leaks(): LeakReport {
    if (this.#detectorError !== undefined) throw new Error(this.#detectorError);
    return this.#detector.report();
  }

  async #readVitals(): Promise<void> {
    try {
      this.#vitals.push(await this.#link.ask('vitals', ANSWER_TIMEOUT_MS));
      if (this.#vitals.length > VITALS_KEPT_MAX) this.#vitals.shift();
    } finally {
      this.#tell();
    }
  }

  /** Not waited for: what it sets off takes its time. */
  #tell(): void {
    const last = this.#vitals.at(-1);
    if (last === undefined) return;
    const isLeaking = this.#detector.report().verdict === 'leaking';
    const delayMs = Math.max(last.loop.delayMs.max, this.#link.silentMs());
    const observation = { at: Date.now(), isLeaking, heapUsed: last.memory.heapUsed, delayMs };
    this.#observe(observation).catch((error: unknown) => {
      this.#detectorError = String(error);
    });
  }

  async #readSnapshot(): Promise<void> {
    const snapshot = await this.#snapshots.read(ANSWER_TIMEOUT_MS);
    this.#detector.add(snapshot);
    this.#detectorError = undefined;
  }

  #look(read: () => Promise<void>): void {
    read().catch((error: unknown) => {
      // A blocked main thread leaves a gap. Anything else is told to whoever asks for the verdict.
      if (!(error instanceof MainThreadBlocked)) this.#detectorError = String(error);
    });
  }
}
