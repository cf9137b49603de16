// The bearer token of the admin API: ADMIN_TOKEN, or a random one in STAMPEDE_DIR that only this user may read. The start
// makes it, the command line reads it. Nothing here logs or prints it.
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { readIfThere, writePrivateFile } from './embedded/private-files.js';
import { ConfigurationError } from './errors.js';
import type { Settings } from './settings.js';

const TOKEN_BYTES = 32;
/** What ADMIN_TOKEN must be, too: a file emptied by accident must not become an empty token. */
const TOKEN = /^[\x21-\x7e]{16,}$/;

/** Absolute path of the file that holds the token when ADMIN_TOKEN is unset. */
export function adminTokenFile(settings: Pick<Settings, 'dir'>): string {
  return join(settings.dir, 'admin-token');
}

/** The token, for clients of the admin API. Throws `ConfigurationError` when none was made yet. */
export async function readAdminToken(settings: Pick<Settings, 'dir' | 'adminToken'>): Promise<string> {
  const token = await knownToken(settings);
  if (token === undefined) {
    throw new ConfigurationError(
      `ADMIN_TOKEN is unset and ${adminTokenFile(settings)} does not exist: start the service, or set STAMPEDE_DIR or ADMIN_TOKEN.`,
    );
  }
  return token;
}

/** The token, made at random if there is none. The caller holds the lock of the folder, which exists. */
export async function ensureAdminToken(settings: Pick<Settings, 'dir' | 'adminToken'>): Promise<string> {
  const known = await knownToken(settings);
  if (known !== undefined) return known;
  const token = randomBytes(TOKEN_BYTES).toString('base64url');
  await writePrivateFile(adminTokenFile(settings), `${token}\n`);
  return token;
}

async function knownToken(settings: Pick<Settings, 'dir' | 'adminToken'>): Promise<string | undefined> {
  if (settings.adminToken !== undefined) return settings.adminToken;
  const file = adminTokenFile(settings);
  const token = (await readIfThere(file))?.trim();
  if (token !== undefined && !TOKEN.test(token)) {
    throw new ConfigurationError(
      `${file} does not hold a token: delete it (the next start makes one), or set ADMIN_TOKEN.`,
    );
  }
  return token;
}
