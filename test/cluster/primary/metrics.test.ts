// The metrics of an instance while its processes come and go: no total goes back, and nobody who hangs takes the scrape along.
import { expect, it } from 'vitest';
import { findFreePort } from '../../../platform/embedded/free-port.js';
import { waitFor } from '../../harness/wait-for.js';
import { startInstance } from './instance.js';

const port = await findFreePort();

/** Once all but `silent` http workers have answered: on a busy machine one may be late that does not hang. */
async function scrape(silent = 0): Promise<Scrape> {
  return await waitFor(
    async () => {
      const scraped = await scrapeOnce();
      const counts = ['http', 'ledger', 'admin'].map((role) =>
        scraped.value(`stampede_silent_processes{role="${role}"}`),
      );
      return counts.join() === `${silent},0,0` ? scraped : undefined;
    },
    { what: `${silent} silent http workers` },
  );
}

interface Scrape {
  readonly value: (series: string) => number | undefined;
}

async function scrapeOnce(): Promise<Scrape> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`, { signal: AbortSignal.timeout(20_000) });
  const text = await response.text();
  expect([response.status, text]).toEqual([200, expect.stringContaining('# TYPE')]);
  const value = (series: string): number | undefined => {
    const line = text.split('\n').find((one) => one.startsWith(`${series} `));
    return line === undefined ? undefined : Number(line.slice(series.length + 1));
  };
  return { value };
}

const rss = (name: string, role: string) => `process_resident_memory_bytes{role="${role}",process="${name}"}`;

it('keeps the totals of processes that have ended, and leaves out one that hangs', async () => {
  const instance = await startInstance({
    plans: { admin: { listens: true } },
    httpWorkers: 2,
    environment: { PORT: String(port) },
  });
  await instance.whenAllReady();

  // Nobody has asked these for their metrics when they end: it is their last words that count.
  instance.tell('reload');
  await waitFor(() => instance.lines.some(({ msg }) => msg === 'reload done'), { what: 'the reload' });
  await instance.whenAllReady();
  const reloaded = await scrape();
  expect(reloaded.value('test_starts_total')).toBe(8);
  expect(reloaded.value('stampede_reloads_total{result="done"}')).toBe(1);
  expect(reloaded.value('stampede_workers{role="http",state="ready"}')).toBe(2);
  for (const [name, role] of ['primary', 'http-1', 'http-2', 'ledger-1', 'admin-1'].map((name) => [
    name,
    name.replace(/-\d/, ''),
  ])) {
    expect(reloaded.value(rss(name ?? '', role ?? ''))).toBeGreaterThan(1e6);
  }

  const victim = await instance.whenReady('http-1');
  process.kill(victim.pid, 'SIGKILL');
  await instance.whenReady('http-1', victim.pid);
  const restarted = await scrape();
  expect(restarted.value('test_starts_total')).toBe(9);
  expect(restarted.value('stampede_worker_restarts_total{role="http"}')).toBe(1);
  const cpu = 'process_cpu_seconds_total{role="http",process="http-1"}';
  expect(restarted.value(cpu)).toBeGreaterThan(reloaded.value(cpu) ?? Infinity);

  const hung = await instance.whenReady('http-2');
  process.kill(hung.pid, 'SIGSTOP');
  const without = await scrape(1);
  process.kill(hung.pid, 'SIGCONT');
  expect(without.value('test_starts_total')).toBe(9);
  expect(without.value(rss('http-2', 'http'))).toBeUndefined();
  expect(without.value(rss('http-1', 'http'))).toBeGreaterThan(1e6);
});
