// `npm run clinic:<tool>`: one http process of the service under a bounded load, watched by clinic, whose report is left in
// .clinic/. A whole service runs beside it on free ports and provides the databases and the ledger; what clinic watches is the
// http role alone in a process of its own (../http-alone.ts), because clinic watches one process and the primary serves nothing.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { findFreePort } from '../../platform/embedded/free-port.js';
import { listenForSignals } from '../../cli/signals.js';
import { createLog } from '../../platform/log.js';
import { packagePath } from '../../platform/package-root.js';
import { startService } from '../service.js';

/** Fetched by npx and not installed with the project: 150 MB, no longer maintained, and wanted by few. */
const CLINIC = 'clinic@13.0.0';
/** Claims of the load. Bubbleprof records every async resource with its stack, and reads them all afterwards. */
const CLAIMS: Readonly<Record<string, number>> = {
  doctor: 20_000,
  bubbleprof: 1_000,
  flame: 20_000,
  heapprofiler: 20_000,
};
const COUPON = 'clinic';

const [tool = ''] = process.argv.slice(2);
const claims = CLAIMS[tool];
if (claims === undefined) throw new RangeError(`name one of ${Object.keys(CLAIMS).join(', ')}`);
const signals = listenForSignals();
const service = await startService({
  workers: 1,
  execArgv: [],
  environment: { DIAGNOSTICS: 'off' },
  log: createLog('clinic', 'silent'),
  signal: signals.stop,
});
try {
  await service.createCoupon(COUPON, claims);
  process.exitCode = await clinic(String(await findFreePort()), claims);
} finally {
  await service.stop();
  signals.close();
}

/** Resolves with clinic's exit code. */
async function clinic(port: string, requests: number): Promise<number> {
  const load = packagePath('dist', 'bench', 'clinic', 'claim-load.js');
  const target = packagePath('dist', 'bench', 'http-alone.js');
  const onPort = [process.execPath, load, port, COUPON, requests].join(' ');
  const args = ['-y', CLINIC, tool, '--open=false', '--dest', '.', '--on-port', onPort, '--', process.execPath, target];
  const folder = packagePath('.clinic');
  await mkdir(folder, { recursive: true });
  const child = spawn('npx', args, {
    // Besides its report it leaves trace logs wherever it runs.
    cwd: folder,
    // Without a terminal clinic stops at its question about usage data, and says nothing.
    env: {
      ...process.env,
      NO_INSIGHT: '1',
      ...service.databaseUrls,
      PORT: port,
      SHARD_COUNT: '16',
      DIAGNOSTICS: 'off',
    },
    stdio: 'inherit',
    signal: signals.stop,
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}
