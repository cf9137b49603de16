// Moments that are worth disturbing, and courses of events that the rules of the protocol are made for.
import type { Fault } from './faults.js';
import {
  abandonRequest,
  failBack,
  hold,
  leaveBehind,
  ledgersToOld,
  letGo,
  loseTail,
  moveAway,
  pauseLedgers,
  pauseOperators,
  release,
  resumeLedgers,
  resumeOne,
  resumeWorkers,
  silenceWorker,
  splitOver,
  stopRebuilder,
} from './faults.js';
import type { Setting } from './setting.js';

export type Moment = (setting: Setting) => boolean;

export const always: Moment = () => true;
const inDoubt: Moment = ({ workers }) => workers.some((worker) => worker.inDoubt);
const undrained: Moment = ({ master }) => (master.data.outbox?.length ?? 0) > 0;
const drained: Moment = ({ master: { data } }) => data.outbox?.length === 0 && data.receipts.size > 0;
const soldOut: Moment = ({ master }) => (master.data.coupon?.stock ?? 1) <= 0;
const asked: Moment = ({ mysql }) => mysql.pending() !== undefined;
const changed: Moment = ({ mysql, master }) => mysql.pending()?.version === master.data.coupon?.version;
const rebuilding: Moment = ({ mysql }) => mysql.shard.state === 'rebuilding';
const decided: Moment = ({ mysql: { shard } }) =>
  shard.state === 'rebuilding' && shard.gatheredEpoch === shard.openedEpoch;
const loading: Moment = ({ nodes }) =>
  nodes.some(({ data }) => data.fence?.state === 'rebuilding' && data.coupon === undefined);
const openAgain: Moment = ({ mysql: { shard } }) => shard.state === 'open' && shard.epoch > 1;
const served: Moment = (setting) => openAgain(setting) && inDoubt(setting);
const openTwice: Moment = ({ mysql: { shard } }) => shard.state === 'open' && shard.openedEpoch > 2;
const rangeMade: Moment = (setting) => rebuilding(setting) && withholding(setting) && asked(setting);
const withholding: Moment = ({ mysql: { ranges } }) => [...ranges.values()].some(({ released }) => !released);

const loadedAsWithheld: Moment = (setting) =>
  withholding(setting) &&
  setting.nodes.some(({ data }) => data.fence?.state === 'rebuilding' && (data.coupon?.withheld ?? 0) > 0);

export const MOMENTS: readonly Moment[] = [
  always,
  inDoubt,
  undrained,
  soldOut,
  asked,
  changed,
  rebuilding,
  decided,
  loading,
  openAgain,
  openTwice,
  withholding,
];

/** Waits for its moment, then so many steps at the most (where none are given, that is drawn too), and then it happens. */
export type StoryStep = readonly [Moment, Fault, number?];

/** Courses of events that the rules are made for. When exactly each step comes is drawn. */
export const STORIES = {
  'the old master is back with a grant nobody was told': [
    [always, hold('claim')],
    [always, moveAway],
    [openAgain, letGo],
    [openAgain, failBack],
  ],
  'a ledger is back at the old master': [
    [always, hold('claim')],
    [inDoubt, moveAway],
    [openAgain, letGo, 0],
    [openAgain, ledgersToOld],
  ],
  'the number of the old master was told to somebody else, and lost': [
    [undrained, hold('claim')],
    [always, moveAway],
    [openAgain, letGo, 0],
    [inDoubt, silenceWorker, 3],
    [always, loseTail, 1],
    [openTwice, failBack],
  ],
  'what the old master has was released': [
    [inDoubt, splitOver],
    [openAgain, resumeWorkers],
    [openTwice, failBack],
  ],
  'what the old master has was given up by hand': [
    [inDoubt, splitOver],
    [withholding, release],
    [openTwice, failBack],
  ],
  'what is withheld is given up while the shard is rebuilt': [
    [always, pauseLedgers],
    [inDoubt, silenceWorker],
    [always, loseTail, 1],
    [always, resumeLedgers, 1],
    [loadedAsWithheld, release, 0],
  ],
  'a rebuild begins on one node and again on the other': [
    [inDoubt, splitOver],
    [decided, stopRebuilder],
    [always, failBack],
  ],
  'a rebuild withholds, and the next one knows of a decrease': [
    [asked, pauseLedgers, 0],
    [asked, hold('settle'), 0],
    [inDoubt, silenceWorker, 3],
    [changed, moveAway, 3],
    [always, resumeLedgers, 1],
    [rangeMade, stopRebuilder, 1],
    [always, failBack, 3],
  ],
  'a rebuild is begun from what was seen long ago': [
    [rebuilding, hold('take'), 0],
    [served, letGo, 3],
  ],
  'a rebuild sleeps while it loads': [
    [always, loseTail],
    [loading, stopRebuilder, 3],
    [openAgain, resumeLedgers],
  ],
  'a worker comes late, and its user has another number': [
    [always, pauseLedgers],
    [inDoubt, silenceWorker],
    [always, loseTail, 1],
    [always, resumeLedgers, 1],
    [openAgain, pauseLedgers],
    [undrained, resumeWorkers],
    [always, resumeLedgers],
  ],
  'Redis had an increase that MySQL does not know': [
    [always, pauseLedgers],
    [changed, pauseOperators, 0],
    [soldOut, silenceWorker, 3],
    [always, loseTail, 1],
    [always, resumeLedgers, 3],
  ],
  'a change is settled while a rebuild decides': [
    [asked, pauseLedgers, 0],
    [asked, hold('settle'), 0],
    [inDoubt, silenceWorker],
    [always, loseTail, 1],
    [always, resumeLedgers, 1],
    [rangeMade, letGo, 0],
  ],
  'workers and operators stay with the old master': [
    [inDoubt, leaveBehind, 1],
    [openAgain, resumeOne],
    [always, abandonRequest],
  ],
  'the ledger has in its hands what Redis forgot': [
    [undrained, hold('write')],
    [inDoubt, silenceWorker],
    [always, loseTail, 1],
    [openAgain, letGo],
  ],
  'answers overtake one another': [
    [drained, pauseLedgers, 1],
    [undrained, loseTail],
    [always, resumeLedgers],
  ],
} as const satisfies Record<string, readonly StoryStep[]>;

export type Story = keyof typeof STORIES;
