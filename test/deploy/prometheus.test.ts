// deploy/prometheus under the real Prometheus of Debian: its own checks and tests of the rules, and then a running service under
// load, of which every query of every rule and dashboard must find something.
import { execFile } from 'node:child_process';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { DASHBOARDS } from '../../deploy/grafana/dashboards.js';
import { packagePath } from '../../platform/package-root.js';
import { atEndOfFile } from '../harness/cleanup.js';
import { Crowd, users } from '../harness/crowd.js';
import { createTestDatabase } from '../harness/database.js';
import { createCoupon } from '../harness/operator.js';
import type { PrometheusPrograms } from '../harness/prometheus.js';
import { providePrometheus, startPrometheus } from '../harness/prometheus.js';
import { makeScratchFolder } from '../harness/scratch.js';
import { startTestRedis } from '../harness/servers.js';
import type { TestService } from '../harness/service.js';
import { SERVICE_TEST_TIMEOUT_MS, startService } from '../harness/service.js';
import { waitFor } from '../harness/wait-for.js';

const FOLDER = packagePath('deploy', 'prometheus');
const CONNECTIONS = 4;
const DATA_LIMIT_MS = 120_000;
const PROMTOOL_LIMIT_MS = 60_000;

interface Rule {
  readonly alert?: string;
  readonly expr: string;
}

let programs: PrometheusPrograms;

beforeAll(async () => {
  programs = await providePrometheus();
}, SERVICE_TEST_TIMEOUT_MS);

async function promtool(...args: string[]): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(programs.promtool, args, {
    cwd: FOLDER,
    timeout: PROMTOOL_LIMIT_MS,
  });
  return stdout + stderr;
}

/** The rules as Prometheus has read them. */
async function rulesOf(url: string): Promise<Rule[]> {
  const response = await fetch(`${url}/api/v1/rules`);
  const { data } = (await response.json()) as {
    data: { groups: { rules: { name: string; query: string; type: string }[] }[] };
  };
  return data.groups.flatMap(({ rules }) =>
    rules.map(({ name, query, type }) => ({ ...(type === 'alerting' && { alert: name }), expr: query })),
  );
}

/** What an alert compares with its limits: queries that find something also while all is well. */
function comparedQueries({ expr }: Rule): string[] {
  return expr.split(/\s+and\s+/).map((part) => {
    const compared = /^([^]+?)\s*[<>]\s*[\d.]+\s*$/.exec(part)?.[1];
    if (compared === undefined) throw new Error(`no comparison with a number: ${part}`);
    return compared;
  });
}

/** As Grafana would send it, with everything chosen. */
function filledIn(expr: string): string {
  return expr
    .replaceAll('$__rate_interval', '1m')
    .replaceAll('$instance', '.*')
    .replaceAll('$coupon', '.*')
    .replace(/ > 0$/, '');
}

describe('the rules', () => {
  it('are taken by promtool, with the scrape configuration', async () => {
    const scratch = await makeScratchFolder('promtool');
    await cp(FOLDER, scratch, { recursive: true });
    const config = join(scratch, 'prometheus.yml');
    const token = join(scratch, 'token');
    await writeFile(token, 'secret');
    await writeFile(config, (await readFile(config, 'utf8')).replace('/etc/prometheus/stampede-admin-token', token));
    expect(await promtool('check', 'config', config)).toContain('SUCCESS');
  });

  it('pass their own tests', async () => {
    expect(await promtool('test', 'rules', 'tests/alerts.test.yml')).toContain('SUCCESS');
  });

  it('are all tested: every alert has a case in which it fires', async () => {
    const [rules, tests] = await Promise.all(
      ['rules/alerts.yml', 'tests/alerts.test.yml'].map((file) => readFile(join(FOLDER, file), 'utf8')),
    );
    const alerts = [...(rules ?? '').matchAll(/- alert: (\w+)/g)].map(([, alert]) => alert);
    expect(alerts.length).toBeGreaterThan(10);
    for (const alert of alerts) expect(tests).toMatch(new RegExp(`alertname: ${alert ?? ''}\\n\\s+exp_alerts:`));
  });
});

describe('a service under load', () => {
  let service: TestService;
  let stopLoad: () => Promise<void>;

  beforeAll(async () => {
    const [redis, database] = [await startTestRedis(), await createTestDatabase()];
    service = await startService({ REDIS_URL: redis.url, MYSQL_URL: database.url, WEB_CONCURRENCY: '1' });
    await createCoupon(service, 'summer', 1_000_000);
    const crowd = new Crowd(service.url, 'summer', CONNECTIONS);
    let stopped = false;
    const load = Promise.all(
      users(CONNECTIONS).map(async (user) => {
        for (let i = 0; !stopped; i++) await crowd.ask(`${user}-${i}`);
      }),
    );
    stopLoad = async () => {
      stopped = true;
      await load;
      await crowd.close();
    };
    atEndOfFile(() => stopLoad());
  }, SERVICE_TEST_TIMEOUT_MS);

  it(
    'gives every query of every rule and every dashboard data',
    async () => {
      const scratch = await makeScratchFolder('prometheus');
      await cp(FOLDER, scratch, { recursive: true });
      const config = join(scratch, 'prometheus.yml');
      const token = join(scratch, 'token');
      await writeFile(token, service.adminToken);
      const text = await readFile(config, 'utf8');
      // Often, so that the test need not wait; and of this service.
      await writeFile(
        config,
        text.replaceAll(/(_interval|_timeout): \d+s/g, '$1: 2s').replace('/etc/prometheus/stampede-admin-token', token),
      );
      await writeFile(join(scratch, 'targets.yml'), JSON.stringify([{ targets: [new URL(service.adminUrl).host] }]));
      const prometheus = await startPrometheus(programs.prometheus, config);
      const rules = await rulesOf(prometheus.url);
      const queries = new Set([
        ...rules.flatMap((rule) => (rule.alert === undefined ? [rule.expr] : comparedQueries(rule))),
        ...DASHBOARDS.flatMap(({ rows }) =>
          rows.flatMap(({ panels }) => panels.flatMap((panel) => panel.queries.map(({ expr }) => filledIn(expr)))),
        ),
      ]);
      expect(queries.size).toBeGreaterThan(70);

      const missing = new Set(queries);
      await waitFor(
        async () => {
          for (const query of missing) {
            const values = await prometheus.query(query);
            if (values.some((value) => Number.isFinite(value))) missing.delete(query);
          }
          return missing.size === 0;
        },
        { what: 'every query to find something', timeoutMs: DATA_LIMIT_MS },
      ).catch(() => undefined);
      expect([...missing]).toEqual([]);
    },
    SERVICE_TEST_TIMEOUT_MS,
  );
});
