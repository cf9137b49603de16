#!/usr/bin/env node
// The command `stampede`. Holds nothing but the hand-over to the built program in dist/cli.
import { existsSync } from 'node:fs';

// A reload that is asked for before the service listens for it (cli/signals.ts) is none; without a listener the signal would end
// the process while it still loads. From a terminal, a hang-up means that somebody has gone: that is left as it is.
if (process.argv[2] === 'start' && !process.stdin.isTTY) process.on('SIGHUP', () => undefined);

const program = new URL('../dist/cli/main.js', import.meta.url);
if (!existsSync(program)) {
  console.error('stampede: not built yet. Run `npm run build` first (`npm start` does it by itself).');
  process.exit(1);
}
await import(program.href);
