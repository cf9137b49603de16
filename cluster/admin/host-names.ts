// Under which names the admin API may be asked for. A page can point its own name at this machine (DNS rebinding) and then
// counts as the same origin for its browser; the Host header still gives it away.
import { isIP } from 'node:net';

/** `name`, `name:port` or `[address]:port`. */
const HOST = /^(?:\[([\da-f:.]+)\]|([^:[\]@/\\?#\s]+))(?::\d{1,5})?$/i;

/**
 * True for what no stranger's DNS can be: an address, a name without a dot (public DNS has none), `*.localhost`, and the names
 * in `allowed` (lower case). True also without a header, which HTTP/1.0 need not send and browsers always do.
 */
export function isSafeHost(header: string | undefined, allowed: readonly string[]): boolean {
  if (header === undefined) return true;
  const [, address, name] = HOST.exec(header) ?? [];
  const host = (address ?? name)?.toLowerCase();
  if (host === undefined) return false;
  return isIP(host) !== 0 || !host.includes('.') || host.endsWith('.localhost') || allowed.includes(host);
}
