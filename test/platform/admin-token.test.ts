// The admin token: given or made once, private, never half written.
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { adminTokenFile, ensureAdminToken, readAdminToken } from '../../platform/admin-token.js';
import { ConfigurationError } from '../../platform/errors.js';
import { makeScratchFolder } from '../harness/scratch.js';

async function emptySettings(): Promise<{ dir: string; adminToken: undefined }> {
  return { dir: await makeScratchFolder('token'), adminToken: undefined };
}

describe('the admin token', () => {
  it('is made once, with 32 random bytes, readable by this user only', async () => {
    const settings = await emptySettings();
    const token = await ensureAdminToken(settings);
    expect(Buffer.from(token, 'base64url')).toHaveLength(32);
    expect(await ensureAdminToken(settings)).toBe(token);
    expect(await readAdminToken(settings)).toBe(token);
    expect((await stat(adminTokenFile(settings))).mode & 0o777).toBe(0o600);
    expect(await ensureAdminToken(await emptySettings())).not.toBe(token);
  });

  it('is ADMIN_TOKEN when that is set, and then no file is made', async () => {
    const settings = { ...(await emptySettings()), adminToken: 'given-by-the-operator' };
    expect(await ensureAdminToken(settings)).toBe('given-by-the-operator');
    await expect(readFile(adminTokenFile(settings))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('that nobody has made is an error for its reader, which names what to set', async () => {
    const settings = { dir: join(await makeScratchFolder('token'), 'missing'), adminToken: undefined };
    await expect(readAdminToken(settings)).rejects.toThrow(ConfigurationError);
    await expect(readAdminToken(settings)).rejects.toThrow(/ADMIN_TOKEN.*STAMPEDE_DIR/);
  });

  it('is never taken from a file that was emptied', async () => {
    const settings = await emptySettings();
    await mkdir(settings.dir, { recursive: true });
    await writeFile(adminTokenFile(settings), '\n');
    await chmod(adminTokenFile(settings), 0o600);
    await expect(ensureAdminToken(settings)).rejects.toThrow(ConfigurationError);
    await expect(readAdminToken(settings)).rejects.toThrow(ConfigurationError);
  });
});
