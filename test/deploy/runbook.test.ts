// docs/deploy.md says what to do at every alert, and every alert leads there.
import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { packagePath } from '../../platform/package-root.js';

const DOCUMENT = 'docs/deploy.md';

it('every alert has a severity and leads to its own section, and every section is of an alert', async () => {
  const rules = await readFile(packagePath('deploy', 'prometheus', 'rules', 'alerts.yml'), 'utf8');
  const text = await readFile(packagePath(DOCUMENT), 'utf8');
  const alerts = rules.split(/^ +- alert: /m).slice(1);
  const names = alerts.map((alert) => /^\w+/.exec(alert)?.[0] ?? '');
  for (const [index, name] of names.entries()) {
    expect(alerts[index]).toContain(`runbook: ${DOCUMENT}#${name.toLowerCase()}\n`);
    expect(alerts[index]).toMatch(/severity: (page|ticket)/);
  }
  const sections = text.slice(text.indexOf('## What to do at every alert')).split(/^### /m).slice(1);
  expect(sections.map((section) => /^\w+/.exec(section)?.[0]).sort()).toEqual(names.sort());
  for (const section of sections) expect(section.length, section.slice(0, 40)).toBeGreaterThan(60);
});
