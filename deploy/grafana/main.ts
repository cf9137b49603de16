// `npm run dashboards`: writes deploy/grafana/dashboards/*.json from their descriptions beside this file. A test fails when the
// files and the descriptions differ.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packagePath } from '../../platform/package-root.js';
import { dashboardFiles } from './dashboards.js';

const folder = packagePath('deploy', 'grafana', 'dashboards');
await mkdir(folder, { recursive: true });
for (const [name, text] of dashboardFiles()) await writeFile(join(folder, name), text);
