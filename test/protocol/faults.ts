// What can go wrong, one function each: it happens at once, to somebody drawn from the seed. When it happens is for
// fault-plan.ts.
import type { RedisNode } from './redis.js';
import type { Setting } from './setting.js';

export type Fault = (setting: Setting) => void;

export function pauseOne({ world, actors }: Setting): void {
  const busy = actors.filter(({ process }) => world.waiting(process));
  const actor = world.chance.pick(world.chance.happens(0.5) ? actors : busy);
  if (actor === undefined || actor.process.paused) return;
  actor.process.paused = true;
  world.note(actor.process.name, () => 'SIGSTOP');
}

export function resumeOne({ world, actors, nodes }: Setting): void {
  const paused = [...actors.map(({ process }) => process), ...nodes].filter((one) => one.paused);
  const one = world.chance.pick(paused);
  if (one === undefined) return;
  one.paused = false;
  world.note(one.name, () => 'SIGCONT');
}

export function pauseRedis({ world, master }: Setting): void {
  master.paused = true;
  world.note(master.name, () => 'SIGSTOP');
}

export function killWorker(setting: Setting): void {
  const { world } = setting;
  const worker = world.chance.pick(setting.workersAlive());
  if (worker === undefined) return;
  world.note(worker.name, () => 'SIGKILL');
  world.kill(worker.process);
  if (world.chance.happens(0.7)) setting.addWorker();
}

/** The old master lives on, and some workers with it, cut off from MySQL; the others go to the new one. */
export function splitOver(setting: Setting): void {
  moveOver(setting, 0.6);
}

/** … and all workers stay with it, and the operators. */
export function leaveBehind(setting: Setting): void {
  moveOver(setting, 1);
  for (const operator of setting.operators) operator.route = other(setting);
  setting.addWorker();
}

/** The old master lives on, and nobody stays with it. */
export function moveAway(setting: Setting): void {
  moveOver(setting, 0);
}

function moveOver(setting: Setting, share: number): void {
  const { world, master, workers } = setting;
  const next = other(setting);
  if (!next.up) next.restart(0);
  const back = world.chance.between(0, 2);
  next.promote(master.stateAgo(back), `repl-${next.name}-${world.steps}`);
  setting.master = next;
  for (const actor of setting.actors) actor.route = next;
  const staying = workers.filter(({ process }) => process.alive && world.chance.happens(share));
  for (const worker of staying) {
    worker.route = master;
    worker.process.cutFrom.add(setting.mysql);
  }
  const left = staying.map(({ name }) => name).join(', ') || 'nobody';
  world.note(next.name, () => `promoted, ${back} writes behind ${master.name}, which keeps ${left}`);
}

/** The next message of this kind is held up. */
export function hold(kind: string): Fault {
  return ({ world }) => world.holdNext(kind);
}

export function loseTail({ world, master }: Setting): void {
  const back = world.chance.pick([1, world.chance.between(1, master.writes), Infinity]) ?? Infinity;
  world.note(master.name, () => `restarts, ${back === Infinity ? 'empty' : `without its last ${back} writes`}`);
  master.restart(back);
}

export function ledgersToOld(setting: Setting): void {
  const { world, ledgers } = setting;
  const old = other(setting);
  for (const ledger of ledgers) ledger.route = old;
  world.note('ledgers', () => `connected to ${old.name}`);
}

export function pauseLedgers({ world, ledgers }: Setting): void {
  for (const { process } of ledgers) process.paused = true;
  world.note('ledgers', () => 'SIGSTOP, all');
}

export function resumeLedgers({ world, ledgers }: Setting): void {
  for (const { process } of ledgers) process.paused = false;
  world.note('ledgers', () => 'SIGCONT, all');
}

export function resumeWorkers({ world, workers, mysql }: Setting): void {
  for (const { process } of workers) {
    process.paused = false;
    process.cutFrom.delete(mysql);
  }
  world.note('workers', () => 'SIGCONT, all, and MySQL is reached');
}

export function cut({ world, actors, mysql, nodes }: Setting): void {
  const actor = world.chance.pick(actors);
  const server = world.chance.pick([mysql, ...nodes]);
  if (actor === undefined || server === undefined) return;
  actor.process.cutFrom.add(server);
  world.note(actor.process.name, () => `is cut off from ${server.name}`);
}

export function mend({ world, actors }: Setting): void {
  const actor = world.chance.pick(actors.filter(({ process }) => process.cutFrom.size > 0));
  if (actor === undefined) return;
  actor.process.cutFrom.clear();
  world.note(actor.process.name, () => 'reaches everything again');
}

/** A worker dies or is stopped, one that has told what may not be committed if there is any. */
export function silenceWorker(setting: Setting): void {
  const { world } = setting;
  const alive = setting.workers.filter(({ process }) => process.alive);
  const knowing = alive.filter((worker) => worker.inDoubt);
  const worker = world.chance.pick(knowing.length > 0 ? knowing : alive);
  if (worker === undefined) return;
  const dies = world.chance.happens(0.5);
  world.note(worker.name, () => `${dies ? 'SIGKILL' : 'SIGSTOP'}${worker.inDoubt ? ', with something in doubt' : ''}`);
  if (dies) world.kill(worker.process);
  else worker.process.paused = true;
  setting.addWorker();
}

export function leaveWorker(setting: Setting): void {
  const { world } = setting;
  const worker = world.chance.pick(setting.workersAlive());
  if (worker === undefined) return;
  world.note(worker.name, () => 'SIGTERM: drains');
  worker.leave();
  setting.addWorker();
}

export function killLedger(setting: Setting): void {
  const { world } = setting;
  const ledger = world.chance.pick(setting.ledgers.filter(({ process }) => process.alive));
  if (ledger === undefined) return;
  world.note(ledger.name, () => 'SIGKILL');
  world.kill(ledger.process);
  setting.addLedger();
}

export function stopRebuilder(setting: Setting): void {
  const { world, ledgers, mysql } = setting;
  const ledger = ledgers.find(({ process, token }) => process.alive && token === mysql.shard.token);
  if (ledger === undefined) return;
  const kill = world.chance.happens(0.5);
  world.note(ledger.name, () => `${kill ? 'SIGKILL' : 'SIGSTOP'}, while it rebuilds`);
  if (kill) world.kill(ledger.process);
  else ledger.process.paused = true;
  setting.addLedger();
}

export function killOperator(setting: Setting): void {
  const { world } = setting;
  const operator = world.chance.pick(setting.operators.filter(({ process }) => process.alive));
  if (operator === undefined) return;
  world.note(operator.name, () => 'SIGKILL');
  world.kill(operator.process);
  if (world.chance.happens(0.5)) setting.addOperator();
}

export function pauseOperators({ world, operators }: Setting): void {
  for (const { process } of operators) process.paused = true;
  world.note('operators', () => 'SIGSTOP, all');
}

/** With everything, without its tail, with an older state, or empty. */
export function restartRedis({ world, master }: Setting): void {
  const { chance } = world;
  const back = chance.pick([0, chance.between(1, 3), chance.between(1, master.writes), Infinity]) ?? 0;
  world.note(master.name, () => `restarts, ${back === Infinity ? 'empty' : `without its last ${back} writes`}`);
  master.restart(back);
}

export function forgetKeys({ world, master }: Setting): void {
  const what = world.chance.pick(['all', 'outbox'] as const) ?? 'all';
  world.note(master.name, () => (what === 'all' ? 'FLUSHALL' : 'DEL outbox'));
  master.forget(what);
}

/** Redis forgets at the very moment when somebody who knows better is stopped or dies. */
export function disaster(setting: Setting): void {
  const { chance } = setting.world;
  const loss = chance.pick([restartRedis, failOver, failBack]) ?? restartRedis;
  const silence = chance.pick([silenceWorker, silenceWorker, killLedger, killOperator, holdMessage]) ?? silenceWorker;
  const [first, second] = chance.happens(0.5) ? [loss, silence] : [silence, loss];
  first(setting);
  if (chance.happens(0.5)) pauseOne(setting);
  second(setting);
}

function other({ nodes, master }: Setting): RedisNode {
  return nodes[0] === master ? nodes[1] : nodes[0];
}

/** The other node, a replica that may lag, becomes master. The old one may live on for those who are connected to it. */
export function failOver(setting: Setting): void {
  const { world, master, nodes } = setting;
  const { chance } = world;
  const next = other(setting);
  const back = chance.pick([0, 1, 2, chance.between(1, master.writes)]) ?? 0;
  if (!next.up) next.restart(0);
  next.promote(master.stateAgo(back), `repl-${next.name}-${world.steps}`);
  const dies = chance.happens(0.4);
  if (dies) {
    master.up = false;
    master.incarnation++;
  }
  setting.master = next;
  world.note(next.name, () => `promoted, ${back} writes behind ${master.name}${dies ? ', which is dead' : ''}`);
  if (chance.happens(0.5)) rerouteSome(setting, nodes);
}

/** The node that was master before is master again, with what it had then. */
export function failBack(setting: Setting): void {
  const { world } = setting;
  const next = other(setting);
  if (!next.up) next.restart(0);
  setting.master = next;
  world.note(next.name, () => 'is master again, with what it had');
  if (world.chance.happens(0.5)) rerouteSome(setting, setting.nodes);
}

function rerouteSome(setting: Setting, nodes: readonly RedisNode[]): void {
  const { world, actors, master } = setting;
  for (const actor of actors) {
    if (!world.chance.happens(0.5)) continue;
    if (nodes.includes(actor.route)) actor.route = master;
    world.note(actor.process.name, () => `now connected to ${master.name}`);
  }
}

/** One process finds the master, or is left with the other node. */
export function reroute(setting: Setting): void {
  const { world, actors, nodes, master } = setting;
  const actor = world.chance.pick(actors);
  if (actor === undefined) return;
  actor.route = world.chance.happens(0.7) ? master : (world.chance.pick(nodes) ?? master);
  world.note(actor.process.name, () => `now connected to ${actor.route.name}`);
}

export function disturbMessage({ world }: Setting): void {
  world.disturbMessage();
}

export function holdMessage({ world }: Setting): void {
  world.holdMessage();
}

export function letGo({ world }: Setting): void {
  world.letGo();
}

export function abandonRequest({ world, clients }: Setting): void {
  const client = world.chance.pick(clients.filter(({ open }) => open !== undefined));
  if (client?.open === undefined) return;
  client.open.abandoned = true;
  world.note(client.user, () => 'waits no longer');
}

/** An operator asks for a rebuild, or gives up a range. */
export function byHand(setting: Setting): void {
  const { world, mysql } = setting;
  if (world.chance.happens(0.3)) release(setting);
  else if (mysql.isOpen) {
    world.note('hand', () => 'rebuild');
    mysql.fence();
  }
}

export function release({ world, mysql }: Setting): void {
  const epoch = world.chance.pick([...mysql.ranges.keys()]);
  if (epoch === undefined) return;
  world.note('hand', () => `release what is withheld of epoch ${epoch}`);
  mysql.releaseByHand(epoch);
}
