#!/usr/bin/env node
// The command `stampede`. Holds nothing but the hand-over to the built program in dist/cli.
import { existsSync } from 'node:fs';

const program = new URL('../dist/cli/main.js', import.meta.url);
if (!existsSync(program)) {
  console.error('stampede: not built yet. Run `npm run build` first (`npm start` does it by itself).');
  process.exit(1);
}
await import(program.href);
