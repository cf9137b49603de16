// Lists what is open in this process: sockets, servers, pipes, child processes, with what tells one from another
// (addresses, ports, fd, pid). Never a payload, a header, a command line or a path's query.
import { ChildProcess } from 'node:child_process';
import { Server, Socket } from 'node:net';
import type { HandleDetails, HandleReport } from './messages.js';

/** More are counted but not listed: a process with 50,000 sockets is described well enough by these. */
const HANDLES_LISTED_MAX = 500;

/** `getActiveResourcesInfo` (public) for the counts; `_getActiveHandles` (internal, there since Node 0.x) for details. */
interface ProcessInternals {
  _getActiveHandles?: () => unknown[];
}

/** A handle of libuv as Node's own code sees it. */
interface BareHandle {
  getsockname?: (into: Bound) => number;
}
interface Bound {
  readonly address?: string;
  readonly port?: number;
}

export function readHandles(): HandleReport {
  const active: Record<string, number> = {};
  for (const type of process.getActiveResourcesInfo()) active[type] = (active[type] ?? 0) + 1;
  const open = (process as unknown as ProcessInternals)._getActiveHandles?.() ?? [];
  return {
    at: Date.now(),
    active,
    handles: open.slice(0, HANDLES_LISTED_MAX).map(describe),
    omitted: Math.max(0, open.length - HANDLES_LISTED_MAX),
  };
}

function describe(handle: unknown): HandleDetails {
  const type = (handle as { constructor?: { name?: string } } | null)?.constructor?.name ?? 'unknown';
  const details: Record<string, string | number> = {};
  const fd = (handle as { _handle?: { fd?: unknown } } | null)?._handle?.fd;
  if (typeof fd === 'number' && fd >= 0) details['fd'] = fd;
  if (handle instanceof Server) {
    const address = handle.address();
    if (typeof address === 'string') details['listens'] = address;
    else if (address !== null) details['listens'] = `${address.address}:${address.port}`;
  } else if (handle instanceof Socket) {
    if (handle.remoteAddress !== undefined) details['remote'] = `${handle.remoteAddress}:${handle.remotePort ?? 0}`;
    if (handle.localAddress !== undefined) details['local'] = `${handle.localAddress}:${handle.localPort ?? 0}`;
    details['state'] = handle.readyState;
    details['bytesRead'] = handle.bytesRead;
    details['bytesWritten'] = handle.bytesWritten;
  } else if (handle instanceof ChildProcess && handle.pid !== undefined) {
    details['pid'] = handle.pid;
  } else {
    // A listener that a cluster shares stands there bare, without the server that owns it.
    const { address, port } = boundTo(handle as BareHandle | null);
    if (address !== undefined) details['bound'] = `${address}:${port ?? 0}`;
  }
  return { type, details };
}

function boundTo(handle: BareHandle | null): Bound {
  const bound: Bound = {};
  try {
    handle?.getsockname?.(bound);
  } catch {
    // Closed meanwhile: bound to nothing.
  }
  return bound;
}
