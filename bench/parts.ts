// The parts of the benchmark, in the order in which they run and are reported. A new part is a line here.
import { BATCHES } from './batch.js';
import { BURST } from './burst/part.js';
import { CLUSTER } from './cluster.js';
import { DRAIN } from './drain.js';
import { GROWTH } from './growth/part.js';
import { LATENCY } from './latency.js';
import { MEMORY } from './memory.js';
import type { Part } from './part.js';
import { PEERS } from './peers/peers.js';
import { RAW } from './raw.js';
import { SCRIPTS } from './scripts-part.js';
import { SWITCHES } from './switches.js';
import { WORKER_MEMORY } from './worker-memory.js';
import { GENERATOR } from './wrk/part.js';

export const PARTS: readonly Part[] = [
  ...[PEERS, GENERATOR, SWITCHES, SCRIPTS, RAW, BATCHES, BURST, LATENCY, DRAIN, CLUSTER],
  ...[MEMORY, WORKER_MEMORY, GROWTH],
];
