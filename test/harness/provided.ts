// What the global setup and the test files agree on. The values reach the tests by vitest's `provide` and `inject`.
import type { Executables } from '../../platform/embedded/provide-executables.js';

export const TEST_DATABASE_PREFIX = 'test_';
/** Test data is small, and several servers may run at once. */
export const TEST_BUFFER_POOL_MB = 64;

declare module 'vitest' {
  export interface ProvidedContext {
    /** Of an account that may create databases. */
    readonly sharedMysqlUrl: string;
    readonly executables: Required<Executables>;
    /** Absolute; everything that tests start works below it. */
    readonly scratchFolder: string;
  }
}
