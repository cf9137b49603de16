// What starts and stops the service: pm2, systemd and compose agree with the program on exit codes and times, and name only files
// that exist. pm2 itself runs in test/ecosystem.test.ts.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { EXIT } from '../../cluster/exit-codes.js';
import { ROLES } from '../../cluster/actor.js';
import { packagePath } from '../../platform/package-root.js';
import { readSettings } from '../../platform/settings.js';

interface Pm2App {
  readonly script: string;
  readonly kill_timeout: number;
  readonly treekill: boolean;
  readonly exec_mode: string;
  readonly instances: number;
  readonly stop_exit_codes: readonly number[];
}

const { apps } = (await import(packagePath('ecosystem.config.js'))) as { apps: Pm2App[] };
const compose = await readFile(packagePath('compose.yaml'), 'utf8');
const unit = await readFile(packagePath('deploy', 'systemd', 'stampede.service'), 'utf8');

const DRAIN_MS = ROLES.length * readSettings({}).drainTimeoutMs;
const HOPELESS = [EXIT.usage, EXIT.configuration];

const inUnit = (key: string): string | undefined => new RegExp(`^${key}=(.*)$`, 'm').exec(unit)?.[1];

it('each gives the service the time that its drain may take', () => {
  expect(apps[0]?.kill_timeout).toBeGreaterThan(DRAIN_MS);
  expect(Number(inUnit('TimeoutStopSec')) * 1_000).toBeGreaterThan(DRAIN_MS);
  const grace = /stop_grace_period: (\d+)s/.exec(compose)?.[1];
  expect(Number(grace) * 1_000).toBeGreaterThan(DRAIN_MS);
});

it('none restarts what no restart can help', () => {
  expect(apps[0]?.stop_exit_codes).toEqual(HOPELESS);
  expect(inUnit('RestartPreventExitStatus')?.split(' ').map(Number)).toEqual(HOPELESS);
});

it('each leaves the workers to the primary', () => {
  expect(apps).toHaveLength(1);
  expect(apps[0]).toMatchObject({ treekill: false, exec_mode: 'fork', instances: 1 });
  expect(inUnit('KillMode')).toBe('process');
  expect(inUnit('OOMPolicy')).toBe('continue');
});

it('they start a program that exists', () => {
  expect(existsSync(packagePath(apps[0]?.script ?? 'none'))).toBe(true);
  const [, script = 'none'] = (inUnit('ExecStart') ?? '').split(' ');
  expect(existsSync(packagePath(script))).toBe(true);
});

it('compose.yaml fits the schema of compose files, and mounts only what exists', async () => {
  // Warnings are about the order of keys; an error is an exit code.
  const dclint = packagePath('node_modules', 'dclint', 'bin', 'dclint.cjs');
  await promisify(execFile)(process.execPath, [dclint, '--quiet', packagePath('compose.yaml')]);
  const mounts = [...compose.matchAll(/^ +- (\.\/[^:]+):/gm)].map(([, path]) => path ?? '');
  expect(mounts.length).toBeGreaterThan(3);
  for (const path of mounts) expect([path, existsSync(join(packagePath(), path))]).toEqual([path, true]);
});
