// /debug/leaks: the detector's verdict, JSON by default because the contract says so, with ?format=text for people.
import type { LeakReport } from '../model.js';
import { formatOf, json, text } from './debug-request.js';
import type { Endpoint } from './debug-request.js';
import { duration, frameLines } from './text.js';

const MS_PER_SECOND = 1_000;

export const leaks: Endpoint = (request, { watch }) => {
  const format = formatOf(request, ['json', 'text']);
  const report = watch.leaks();
  return Promise.resolve(format === 'json' ? json(report) : text(leakText(report)));
};

export function leakText({ verdict, sites, from, to }: LeakReport): string {
  const blocks = sites.map((site) =>
    [
      `${site.verdict}: ${Math.round(site.live)} ${site.type} (${site.kind}), ${site.growthPerMinute.toFixed(1)} more per minute ` +
        `since ${site.since}, the oldest ${duration(site.oldestSeconds * MS_PER_SECOND)} old`,
      ...frameLines(site.stack),
      `    cause: ${site.cause}`,
      `    fix:   ${site.fix}`,
      `    more:  ${site.link}`,
    ].join('\n'),
  );
  return [`${verdict}, judged over ${duration(Math.max(0, to - from))}`, ...blocks].join('\n\n');
}
