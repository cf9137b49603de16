// What pm2 wants of a program that it runs: the word `ready`, and actions for `pm2 trigger`. Its protocol is a few messages over
// the IPC channel of Node (pm2 7: lib/God/ForkMode.js, lib/God/ActionMethods.js, lib/API/Extra.js), so its library is not needed:
//
//   program → pm2   'ready'                                                     what `wait_ready` waits for
//   program → pm2   { type: 'axm:action', data: { action_name, action_type } }  the program has this action
//   pm2 → program   'reload', or { msg: 'reload', opts } with a parameter       somebody has triggered it
//   program → pm2   { type: 'axm:reply', data: { action_name, return } }        what `pm2 trigger` prints, and waits for
//
// Knows nothing of the service. Does nothing where there is no pm2.

/** The part of `process` that this needs. */
export interface Pm2Channel {
  send?(message: unknown): unknown;
  on(event: 'message', listener: (message: unknown) => void): unknown;
  off(event: 'message', listener: (message: unknown) => void): unknown;
}

const RELOAD = 'reload';

export interface Pm2 {
  ready(): void;
  /** Offers `pm2 trigger <name> reload`; what `reload` resolves with is the answer. Must not reject. */
  onReload(reload: () => Promise<string>): void;
  close(): void;
}

export function followPm2(channel: Pm2Channel, environment: Readonly<Record<string, string | undefined>>): Pm2 {
  // Another parent with an IPC channel would not know what to make of actions.
  const isPm2 = environment['pm_id'] !== undefined;
  let listener: ((message: unknown) => void) | undefined;
  return {
    ready: () => channel.send?.('ready'),
    onReload(reload) {
      if (!isPm2) return;
      listener = (message) => {
        if (!asksFor(RELOAD, message)) return;
        reload().then(
          (answer) => channel.send?.({ type: 'axm:reply', data: { action_name: RELOAD, return: answer } }),
          () => undefined,
        );
      };
      channel.on('message', listener);
      channel.send?.({ type: 'axm:action', data: { action_name: RELOAD, action_type: 'custom' } });
    },
    close() {
      if (listener !== undefined) channel.off('message', listener);
    },
  };
}

function asksFor(action: string, message: unknown): boolean {
  if (message === action) return true;
  return typeof message === 'object' && message !== null && 'msg' in message && message.msg === action;
}
