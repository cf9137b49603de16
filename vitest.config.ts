// Tests run on real servers (test/harness/global-setup.ts). Most of a file's time is waiting for them, so two files run at once;
// no more, because the bursts want the cores.
import { defineConfig } from 'vitest/config';

const FILES_AT_ONCE = 2;
const TEST_TIMEOUT_MS = 60_000;
const HOOK_TIMEOUT_MS = 120_000;

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/harness/global-setup.ts'],
    pool: 'forks',
    maxWorkers: FILES_AT_ONCE,
    testTimeout: TEST_TIMEOUT_MS,
    hookTimeout: HOOK_TIMEOUT_MS,
    teardownTimeout: HOOK_TIMEOUT_MS,
  },
});
