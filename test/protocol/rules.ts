// The rules of the protocol that can be broken one at a time, each with what it is for. docs/protocol.md explains them under
// the same names. `Rules` only answers whether a rule is kept; the rooms of the model ask it where the rule belongs.

export const RULES = {
  // The script in Redis
  identity: 'scripts compare run_id and replid with the fence',
  'epoch in the script': 'scripts compare the epoch of the caller with the fence',
  'no fence afresh': 'a missing fence means refuse',
  'outbox stands': 'a missing outbox under an open fence is damage',
  'membership first': 'who has a receipt hears of it before stock is looked at',
  ceiling: 'numbers end at the ceiling',
  'fenced while withheld': 'with units withheld nobody is told sold_out',
  // Workers
  registration: 'a worker passes an epoch only after its row for it is committed',
  'unsure registration': 'an epoch whose registration may have been committed is reported',
  witness: 'positive answers are remembered before they are told',
  'order of replies': 'a reply that ran earlier and arrives later proves nothing about what came after it',
  'kept until committed': 'a witness entry stays until its outbox id is known to be committed',
  promise: 'after the snapshot for a report nothing of that epoch is told',
  leaving: 'a leaving worker waits until its witness is empty',
  'return is witnessed': 'a told return is remembered and reported like a told claim',
  // The ledger
  'commit before acknowledging': 'entries leave the outbox after their commit',
  "ledger's epoch": 'a transaction of the ledger requires its epoch to be the shard’s',
  'own entries only': 'the ledger takes only entries of its own epoch',
  'return before stock': 'a returned unit goes to stock when its return is committed',
  'the dead are clean': 'the row of a dead worker goes only when the outbox has passed what it may have told',
  // The rebuild
  'fence first': 'the fence in Redis is closed before anything is gathered',
  'lease taken whole': 'what a rebuild goes by is read in the same step that takes the epoch',
  'decision stands': 'who is missing is decided once, before anything is gathered',
  withholding: 'a missing worker of the last opened epoch withholds numbers',
  'gaps are withheld': 'the range begins at the highest number known when the epoch was opened',
  'pending increase counts': 'an increase that may have reached Redis widens the range',
  'late report fences': 'a late report closes an open shard, so that it is taken in',
  'unread reports forbid release': 'no range is released while a report waits to be read',
  'release when all reported': 'a range is released only when every worker of its epoch has reported',
  'release overtakes': 'a release by hand overtakes the rebuild that is under way',
  'range made anew': 'an attempt that broke off before it was gathered leaves no range behind',
  'gathered once': 'what an epoch left is taken freely only until the rebuild has decided about it',
  'old entries only in ranges': 'entries of an older epoch only fill a withheld range',
  'range of the same epoch': 'an entry or a late report fills only a range of its own epoch',
  'newest first': 'the last opened epoch is gathered before older ones',
  'withheld counts for changes': 'a pending decrease is settled on what remains after withholding',
  'token of the load': 'every step of a load checks token and identity',
  'empty outbox at opening': 'a shard opens only with nothing left in its outbox',
  "rebuild's lease": 'every transaction of a rebuild checks epoch, token and state',
  'ceiling after withholding': 'the load lifts the ceiling above the withheld numbers',
  // Changes of stock
  'epoch of a change': 'the epoch for the change script is read when the change is in MySQL',
  "settlement's epoch": 'an outcome is settled by its caller only while the epoch still holds',
  'operator hears MySQL': 'the operator is told the outcome that MySQL has',
} as const;

export type Rule = keyof typeof RULES;

export class Rules {
  readonly #broken: Rule | undefined;

  constructor(broken?: Rule) {
    this.#broken = broken;
  }

  keeps(rule: Rule): boolean {
    return this.#broken !== rule;
  }
}
