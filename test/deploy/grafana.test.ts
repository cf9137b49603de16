// The dashboards as files: what their descriptions say, and complete.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DASHBOARDS, dashboardFiles } from '../../deploy/grafana/dashboards.js';
import { packagePath } from '../../platform/package-root.js';

const FOLDER = packagePath('deploy', 'grafana', 'dashboards');

it('the files are what `npm run dashboards` writes', async () => {
  const files = dashboardFiles();
  expect((await readdir(FOLDER)).sort()).toEqual([...files.keys()].sort());
  for (const [name, text] of files) expect(await readFile(join(FOLDER, name), 'utf8')).toBe(text);
});

it('their types are of the Grafana that compose.yaml starts', async () => {
  const compose = await readFile(packagePath('compose.yaml'), 'utf8');
  const { devDependencies } = JSON.parse(await readFile(packagePath('package.json'), 'utf8')) as {
    devDependencies: Record<string, string>;
  };
  expect(/image: grafana\/grafana:(\S+)/.exec(compose)?.[1]).toBe(devDependencies['@grafana/schema']);
});

describe.each(DASHBOARDS.map((dashboard) => [dashboard.title, dashboard] as const))('%s', (_title, dashboard) => {
  const panels = dashboard.rows.flatMap((row) => row.panels);

  it('says of every panel what it shows, and in which unit', () => {
    for (const { title, description, unit, queries } of panels) {
      expect(description.length, title).toBeGreaterThan(20);
      expect(unit, title).not.toBe('');
      expect(queries.length, title).toBeGreaterThan(0);
    }
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length);
  });

  it('asks every query for the instances that are chosen, and for the coupons where it has the choice', () => {
    for (const { expr } of panels.flatMap(({ queries }) => queries)) expect(expr).toContain('instance=~"$instance"');
    const asksForCoupon = panels.some(({ queries }) => queries.some(({ expr }) => expr.includes('coupon=~"$coupon"')));
    expect(asksForCoupon).toBe(dashboard.byCoupon);
  });

  it('has no panel over another', () => {
    const json = JSON.parse(dashboardFiles().get(`${dashboard.uid}.json`) ?? '') as {
      panels: { id: number; gridPos: { x: number; y: number; w: number; h: number } }[];
    };
    const cells = json.panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, cell) => `${x + (cell % w)},${y + Math.floor(cell / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    expect(new Set(json.panels.map(({ id }) => id)).size).toBe(json.panels.length);
  });
});
