// `import '../harness/no-leaks.js'` makes every test of a file fail that leaves a timer, a listener, a handle or a pending
// promise behind, and names the line that made it: diagnostics/verify-no-leaks.ts at work. For tests of what runs in
// their own process.
import { afterAll, afterEach, beforeEach } from 'vitest';
import { verifyNoLeaks } from '../../diagnostics/verify-no-leaks.js';

const leaks = verifyNoLeaks();
beforeEach(() => leaks.begin());
afterEach(() => leaks.end());
afterAll(() => leaks.stop());
