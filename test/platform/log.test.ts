// Logs tell what happened without telling whom it happened to.
import { expect, it } from 'vitest';
import { createLog, withoutCredentials } from '../../platform/log.js';

it('leaves out what drivers hang on their errors, at every depth', () => {
  const driverError = Object.assign(new Error('Duplicate entry'), { code: 'ER_DUP_ENTRY', sql: "VALUES ('alice')" });
  const commandError = Object.assign(new Error('timed out', { cause: driverError }), { command: { args: ['alice'] } });
  const lines: string[] = [];
  const log = createLog('test', 'info', { write: (line) => lines.push(line) });
  log.error({ err: commandError }, 'it failed');
  expect(lines.join('')).toContain('ER_DUP_ENTRY');
  expect(lines.join('')).toContain('timed out');
  expect(lines.join('')).not.toContain('alice');
});

it('takes user and password out of URLs', () => {
  expect(withoutCredentials('mysql://root:secret@db:3306/x')).toBe('mysql://db:3306/x');
});
