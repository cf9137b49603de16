// Starts a peer's server as a process of the benchmark's own.
import { Child } from '../child.js';
import type { ServerOptions, ServerReady } from './server-workers.js';

const START_TIMEOUT_MS = 30_000;

export interface Peer {
  readonly url: string;
  readonly pids: { readonly http: readonly number[]; readonly primary: readonly number[] };
  stop(): Promise<void>;
}

interface PeerContext {
  readonly execArgv: readonly string[];
  /** The Node that runs it; default: this one. */
  readonly node?: string | undefined;
  readonly signal: AbortSignal;
}

/** `script`: one of the servers in this folder. Resolves when all its workers listen. */
export async function startPeer(
  script: 'bare-http' | 'empty-fastify' | 'one-script-server' | 'usual-server',
  options: ServerOptions,
  { execArgv, node, signal }: PeerContext,
): Promise<Peer> {
  const child = new Child({ script: `peers/${script}`, args: [JSON.stringify(options)], execArgv, node, signal });
  try {
    const { port, pids } = (await child.answer(START_TIMEOUT_MS)) as ServerReady;
    return { url: `http://127.0.0.1:${port}`, pids: { http: pids, primary: [child.pid] }, stop: () => child.stop() };
  } catch (error) {
    await child.stop();
    throw error;
  }
}
