// A preload that plants a handle into the process named ledger-1: an interval that nobody clears, on line 5.
import process from 'node:process';
import { setInterval } from 'node:timers';

if (process.env.STAMPEDE_NAME === 'ledger-1') setInterval(() => undefined, 3_600_000);
