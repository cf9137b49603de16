// What the processes of a service that does not end still hold, as their diagnostics agents tell it: the recorder has seen
// everything since their start, so nothing has to be preloaded for it.
import { join } from 'node:path';
import { askDebug, listDebugSockets } from '../../diagnostics/endpoints/proxy.js';
import type { HandleDetails } from '../../diagnostics/agent/messages.js';
import type { SiteSample } from '../../diagnostics/model.js';

const SITES_SHOWN = 10;

interface Handles {
  readonly active?: Readonly<Record<string, number>>;
  readonly handles?: readonly HandleDetails[];
}

/** A paragraph for each process of the service in `dir` that still answers. */
export async function stillOpen(dir: string): Promise<string> {
  const sockets = await listDebugSockets(join(dir, 'run'));
  const paragraphs = await Promise.all(
    sockets.map(async ({ name, socketPath }) => {
      try {
        const open = (await askDebug(socketPath, '/debug/handles?format=json')) as Handles;
        const { sites } = (await askDebug(socketPath, '/debug/async?format=json')) as { sites: SiteSample[] };
        return [
          `${name} still holds ${JSON.stringify(open.active)}`,
          ...(open.handles ?? []).map(handleText),
          ...siteTexts(sites),
        ];
      } catch (error) {
        return [`${name} does not answer: ${String(error)}`];
      }
    }),
  );
  return paragraphs.map((lines) => lines.join('\n  ')).join('\n');
}

function handleText({ type, details }: HandleDetails): string {
  return [type, ...Object.entries(details).map(([key, value]) => `${key} ${value}`)].join(' ');
}

/** The oldest first: what was there all the time is what does not end. */
function siteTexts(sites: readonly SiteSample[]): string[] {
  return sites
    .toSorted((a, b) => b.ageMaxMs - a.ageMaxMs)
    .slice(0, SITES_SHOWN)
    .map(({ live, type, stack: [frame] }) => {
      const place = frame === undefined ? 'no stack' : `${frame.functionName} (${frame.file}:${frame.line})`;
      return `${Math.round(live)} ${type} made at ${place}`;
    });
}
