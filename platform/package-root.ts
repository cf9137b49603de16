// Where the package lives on disk. The compiled program runs from dist/, the tests from the sources; both find
// the files that are read as data (lua/, workers/migrations/) through this one function.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Absolute path of a file or folder of the package, e.g. `packagePath('lua', 'claim.lua')`. */
export function packagePath(...parts: string[]): string {
  return join(packageRoot, ...parts);
}

const packageRoot = findPackageRoot(dirname(fileURLToPath(import.meta.url)));

function findPackageRoot(start: string): string {
  for (let folder = start; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder;
    if (folder === dirname(folder)) throw new Error(`no package.json above ${start}`);
  }
}
