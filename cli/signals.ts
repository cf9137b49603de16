// What the signals of the start mean. Installed before anything is started, so that a Ctrl-C at any moment ends it in order.
//
//   SIGINT, SIGTERM  `stop`: drain in order. The second one: `hurry`. Anything that arrives with the first is the same wish:
//                    npm passes on the Ctrl-C that the terminal has delivered to the whole process group already.
//   SIGHUP           `onReload`; but when the terminal that this was started from has gone, its SIGHUP means `stop`.
import { closeSync, openSync } from 'node:fs';

/** Signals closer than this are one. Under a person's double Ctrl-C, far above the time npm needs to pass one on. */
const SAME_WISH_MS = 500;

export interface Signals {
  readonly stop: AbortSignal;
  readonly hurry: AbortSignal;
  /** Replaces what SIGHUP does; nothing until it is called. */
  onReload(reload: () => void): void;
  /** Gives the signals back to their defaults. */
  close(): void;
}

export function listenForSignals(): Signals {
  const stop = new AbortController();
  const hurry = new AbortController();
  const fromTerminal = process.stdin.isTTY;
  let reload: () => void = () => undefined;
  let firstAt = 0;

  const onStop = (): void => {
    const now = performance.now();
    if (!stop.signal.aborted) {
      firstAt = now;
      stop.abort();
    } else if (now - firstAt > SAME_WISH_MS) hurry.abort();
  };
  const onHangup = (): void => {
    if (fromTerminal && !hasTerminal()) onStop();
    else reload();
  };
  process.on('SIGINT', onStop);
  process.on('SIGTERM', onStop);
  process.on('SIGHUP', onHangup);
  return {
    stop: stop.signal,
    hurry: hurry.signal,
    onReload: (listener) => (reload = listener),
    close() {
      process.off('SIGINT', onStop);
      process.off('SIGTERM', onStop);
      process.off('SIGHUP', onHangup);
    },
  };
}

function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return true;
  } catch {
    return false;
  }
}
