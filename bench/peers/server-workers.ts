// Runs a peer's server like the service's http workers: forked by a cluster primary, connections handed out by the kernel unless
// asked otherwise. Tells its parent where it listens; ends when its parent does.
import cluster from 'node:cluster';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { NODE_OPTIONS_OF_ROLE } from '../../cluster/primary/node-options.js';
import { EXIT } from '../../cluster/exit-codes.js';

export interface ServerReady {
  readonly port: number;
  /** Of the workers. */
  readonly pids: readonly number[];
}

/** What the program is told on its command line, as JSON. */
export interface ServerOptions {
  readonly workers: number;
  /** Who hands out connections; default `kernel`. */
  readonly scheduling?: 'kernel' | 'round-robin';
  readonly redisUrl?: string;
  /** Of ioredis; default false, as it is there. */
  readonly autoPipelining?: boolean;
  /** Of the coupons that are claimed, where the server has to know it. */
  readonly shardCount?: number;
}

/** `serve` runs in each worker and has to listen on port 0, which is the same port for all workers of a cluster. */
export async function runServer(serve: (options: ServerOptions) => Promise<void>): Promise<void> {
  const options = JSON.parse(process.argv[2] ?? '{}') as ServerOptions;
  if (cluster.isPrimary) {
    await supervise(options);
    return;
  }
  process.on('disconnect', () => process.exit());
  await serve(options);
}

async function supervise({ workers, scheduling = 'kernel' }: ServerOptions): Promise<void> {
  cluster.schedulingPolicy = scheduling === 'kernel' ? cluster.SCHED_NONE : cluster.SCHED_RR;
  // As the service's: what is compared is the program, not the size of its nursery.
  cluster.setupPrimary({ execArgv: [...NODE_OPTIONS_OF_ROLE.http, ...process.execArgv] });
  const forked = Array.from({ length: workers }, () => cluster.fork());
  const addresses = await Promise.all(
    forked.map(async (worker) => {
      const [address] = (await once(worker, 'listening')) as [AddressInfo];
      return address;
    }),
  );
  const pids = forked.flatMap((worker) => worker.process.pid ?? []);
  process.on('disconnect', () => {
    // Not killed: a profile is written at an orderly end.
    for (const worker of forked) worker.process.disconnect();
    Promise.all(forked.map((worker) => once(worker, 'exit'))).then(
      () => process.exit(),
      () => process.exit(EXIT.failed),
    );
  });
  process.send?.({ port: addresses[0]?.port ?? 0, pids } satisfies ServerReady);
}
