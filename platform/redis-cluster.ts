// A client of a Redis Cluster for requests. ioredis keeps the connections and the map of slots; what it would do about a
// command that failed, it may not: many of them it sends again, to the same node or to another, also when they may have run.
// Here each command is written once, to the master that its slot belongs to, or rejected at once.
//
//   a master dies      what was in flight is rejected; its slots are refused until the map names another one.
//   a master is mute   the command that ran into its time limit ends the connection, as with a single server; so does a map
//                      that has another master for its slots.
//   a slot has moved   the command is rejected with MOVED or ASK, and did not run. It is not followed: a shard that is found
//                      on another server has to be rebuilt there anyway.
//
// The map is read again every 5 s, and soon after anything that looks like a change, until every master is connected.
import { Cluster, Command } from 'ioredis';
import type { Redis as Server, RedisOptions } from 'ioredis';
import type { Log } from './log.js';

const REFRESH_INTERVAL_MS = 5_000;
const REFRESH_TIMEOUT_MS = 1_000;
/** From a sign of change to the reading of the map; doubled while masters are missing, since each reading is a connection. */
const SOON_MS_MIN = 100;
const SOON_MS_MAX = 1_000;
/** Errors that say, or may mean, that the map is out of date. */
const SIGN_OF_CHANGE = /^(MOVED|ASK|CLUSTERDOWN|READONLY|MASTERDOWN|Connection is closed|Command timed out)/;
/** Begins the message of commands that were not sent. */
export const NOT_SENT = 'Redis command was not sent';

type Sending = Parameters<Cluster['sendCommand']>;

export class RequestCluster extends Cluster {
  readonly #log: Log;
  /** As the map had them when it was read last. */
  #masters: readonly Server[] = [];
  readonly #slots = new Map<string, number>();
  #soonMs = SOON_MS_MIN;
  #soon: NodeJS.Timeout | undefined;
  #reported = false;

  constructor(
    seeds: { host: string; port: number }[],
    clusterRetryStrategy: (attempt: number) => number,
    redisOptions: RedisOptions,
    log: Log,
  ) {
    super(seeds, {
      clusterRetryStrategy,
      redisOptions,
      enableOfflineQueue: false,
      // Would ask a node before its connection is made, which is refused here. The map of slots is proof enough.
      enableReadyCheck: false,
      slotsRefreshInterval: REFRESH_INTERVAL_MS,
      slotsRefreshTimeout: REFRESH_TIMEOUT_MS,
    });
    this.#log = log;
    this.on('+node', (node: Server) => {
      // ioredis gives every node a queue for commands that come before its connection, whatever it is told.
      node.options.enableOfflineQueue = false;
      if (node.options.readOnly !== true) node.connect().catch(() => undefined);
    });
    this.on('refresh', this.#leaveDeposed);
    this.on('-node', this.#refreshSoon);
    this.on('node error', (error: Error, node: string) => {
      if (!this.#reported) log.warn({ err: error, node }, 'a node of the Redis Cluster does not answer');
      this.#reported = true;
    });
  }

  /** Undefined while the map has no node for it. */
  masterOf(key: string): Server | undefined {
    let slot = this.#slots.get(key);
    // Asked for a few keys again and again: one of each shard.
    if (slot === undefined) this.#slots.set(key, (slot = new Command('exists', [key]).getSlot()));
    return this.#masterOfSlot(slot);
  }

  override sendCommand(command: Command, stream?: Sending[1], node?: { slot: number; redis?: Server }): unknown {
    const slot = (node?.slot ?? command.getSlot()) as number | null;
    // ioredis would ask any node. CONFIG, INFO, WAIT and the like are for a certain one, and XGROUP goes without its key.
    if (slot === null) return notSent(command, 'it names no key, and so no node of the cluster');
    const master = this.#masterOfSlot(slot);
    if (this.status !== 'ready' || master?.status !== 'ready') {
      this.#refreshSoon();
      return notSent(command, 'the master of its slot is not connected');
    }
    const reply = super.sendCommand(command, stream, node);
    command.promise.catch((error: unknown) => this.#afterFailure(error, master));
    return reply;
  }

  /** ioredis asks here what to do about a failed command: nothing. */
  override handleError(_error: Error, _ttl: unknown, handlers: { defaults: () => void }): void {
    handlers.defaults();
  }

  override disconnect(reconnect = false): void {
    clearTimeout(this.#soon);
    this.#soon = undefined;
    super.disconnect(reconnect);
  }

  #masterOfSlot(slot: number): Server | undefined {
    const name = this.slots[slot]?.[0];
    return this.nodes('master').find(({ options }) => `${options.host}:${options.port}` === name);
  }

  #afterFailure(error: unknown, master: Server): void {
    if (!(error instanceof Error) || !SIGN_OF_CHANGE.test(error.message)) return;
    if (error.message === 'Command timed out' && master.status === 'ready') master.disconnect(true);
    this.#refreshSoon();
  }

  /** What is in flight to a master that is none any more has waited long enough. */
  readonly #leaveDeposed = (): void => {
    const masters = this.nodes('master');
    for (const known of this.#masters) if (!masters.includes(known)) known.disconnect(true);
    this.#masters = masters;
  };

  readonly #refreshSoon = (): void => {
    if (this.#soon !== undefined || this.status !== 'ready') return;
    this.#soon = setTimeout(() => {
      this.refreshSlotsCache(() => {
        this.#soon = undefined;
        if (this.nodes('master').every(({ status }) => status === 'ready')) {
          this.#soonMs = SOON_MS_MIN;
          if (this.#reported) this.#log.info('every master of the Redis Cluster is connected');
          this.#reported = false;
          return;
        }
        this.#soonMs = Math.min(2 * this.#soonMs, SOON_MS_MAX);
        this.#refreshSoon();
      });
    }, this.#soonMs);
  };
}

function notSent(command: Command, why: string): Promise<unknown> {
  command.reject(new Error(`${NOT_SENT}: ${why}`));
  return command.promise as Promise<unknown>;
}
