// The guide to leaks shows code that the lab runs, and has the sections that the detector points to.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { GUIDE_SECTIONS } from '../../../diagnostics/detector/advice.js';
import { CASE_NAMES } from '../../../diagnostics/lab/cases.js';

const root = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const guide = readFileSync(root('docs/leaks.md'), 'utf8');
const anchors = [...guide.matchAll(/^## (.*)$/gm)].map(([, heading = '']) =>
  heading.toLowerCase().replaceAll(' ', '-'),
);

/** Without indentation, line breaks and the last mark: prettier sets those by the surroundings. */
const squeezed = (code: string): string => code.replaceAll(/\s+/g, '').replace(/[,;]$/, '');

describe('the guide', () => {
  it.each(Object.values(GUIDE_SECTIONS))('has the section %s', (section) => {
    expect(anchors).toContain(section);
  });

  it.each(CASE_NAMES.filter((name) => name !== 'innocent'))('shows %s as the lab runs it', (name) => {
    const part = guide.split(`Case \`${name}\``)[1] ?? '';
    const blocks = [...part.matchAll(/```ts\n(.*?)```/gs)].slice(0, 2).map(([, code = '']) => squeezed(code));
    const source = squeezed(readFileSync(root(`diagnostics/lab/cases/${name}.ts`), 'utf8'));
    expect(blocks).toHaveLength(2);
    for (const block of blocks) expect(source).toContain(block);
  });
});
