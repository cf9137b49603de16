// Folders and files that only this user may read: data folders 0700, secrets 0600. Touches nothing but the paths it is given.
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
/** 192 bits; hexadecimal, so that it needs no quoting in URLs, SQL or configuration files. */
const SECRET_BYTES = 24;

/** Makes the folder (and those above it) if it is missing, and takes it away from everybody else. */
export async function makePrivateFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
  await chmod(folder, FOLDER_MODE);
}

/** Writes the whole file or, after a crash, nothing of it. */
export async function writePrivateFile(file: string, content: string): Promise<void> {
  const draft = `${file}.new`;
  await writeFile(draft, content, { mode: FILE_MODE });
  await chmod(draft, FILE_MODE);
  await rename(draft, file);
}

/** The secret in `file`; made at random at the first call. */
export async function readOrMakeSecret(file: string): Promise<string> {
  const known = await readIfThere(file);
  if (known !== undefined) return known.trim();
  const secret = randomBytes(SECRET_BYTES).toString('hex');
  await writePrivateFile(file, `${secret}\n`);
  return secret;
}

/** The file's text, or undefined when there is no such file. */
export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
