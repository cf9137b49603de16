// The metrics of the whole instance, as the primary can gather them: its own, those of every process, and the totals of those
// that are gone. The primary lives as long as the instance, so what it keeps is never forgotten while anybody counts on it.
// It only carries: merging and printing is the admin process' work.
import type { Gauge, Metrics, Tally } from '../../platform/metrics/metrics.js';
import type { Snapshot } from '../../platform/metrics/snapshot.js';
import { ROLES } from '../actor.js';
import type { ProcessStatus, Role } from '../actor.js';
import type { Place } from './place.js';

export class InstanceMetrics {
  readonly #metrics: Metrics;
  readonly #places: readonly Place[];
  readonly #silent: Gauge;
  readonly #reloads: Tally;
  readonly #relieved: Tally;
  #gathering: Promise<Snapshot[]> | undefined;

  constructor(metrics: Metrics, places: readonly Place[], processes: () => ProcessStatus[]) {
    this.#metrics = metrics;
    this.#places = places;
    this.#silent = metrics.gauge(
      'stampede_silent_processes',
      'Processes that did not answer when this scrape asked for their metrics.',
      ['role'],
    );
    this.#reloads = metrics.tally('stampede_reloads_total', 'Rolling reloads by how they ended.', 'result');
    this.#reloads.announce(['done', 'ended_early']);
    this.#relieved = metrics.tally(
      'stampede_worker_memory_replacements_total',
      'Workers that were replaced because they used more than WORKER_MEMORY_MAX_MB.',
      'role',
    );
    this.#relieved.announce(ROLES);
    const workers = metrics.gauge('stampede_workers', 'Worker processes by role and state.', ['role', 'state']);
    const restarts = metrics.tally('stampede_worker_restarts_total', 'Restarts of workers that died.', 'role');
    metrics.collect('workers', [workers], () => {
      for (const role of ROLES) {
        for (const state of ['starting', 'unready', 'ready', 'draining', 'backoff']) workers.set({ role, state }, 0);
      }
      for (const { role, state } of processes()) if (role !== 'primary') workers.inc({ role, state });
      restarts.counts.clear();
      for (const { role, restarts: times } of places) restarts.count(role, times);
    });
  }

  /** Never rejects, and takes little longer than the slowest process may. Callers at the same time share one. */
  gather(): Promise<Snapshot[]> {
    this.#gathering ??= this.#gather().finally(() => {
      this.#gathering = undefined;
    });
    return this.#gathering;
  }

  reloaded(result: 'done' | 'ended_early'): void {
    this.#reloads.count(result);
  }

  relieved(role: Role): void {
    this.#relieved.count(role);
  }

  async #gather(): Promise<Snapshot[]> {
    for (const role of ROLES) this.#silent.set({ role }, 0);
    const ofPlaces = await Promise.all(
      this.#places.map(async (place) => {
        const { snapshots, silent } = await place.metrics();
        this.#silent.inc({ role: place.role }, silent);
        return snapshots;
      }),
    );
    return [await this.#metrics.snapshot(), ...ofPlaces.flat()];
  }
}
