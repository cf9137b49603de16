// What was told is forgotten when the ledger has it, also while every claim that comes is refused: such replies say nothing of
// the ledger. On a real Redis.
import { beforeAll, expect, it } from 'vitest';
import { decodeReply, encodeClaims } from '../../../cluster/claims/claim-call.js';
import { Confirmations } from '../../../cluster/claims/confirmations.js';
import { PendingClaim } from '../../../cluster/claims/mailbox.js';
import { Witness } from '../../../cluster/claims/witness.js';
import { createLog } from '../../../platform/log.js';
import type { Redis } from '../../../platform/redis.js';
import { ScriptShard, SCRIPT_SHARD, startScriptRedis } from '../../harness/script-shard.js';
import { waitFor } from '../../harness/wait-for.js';
import '../../harness/no-leaks.js';

let redis: Redis;
beforeAll(async () => {
  ({ redis } = await startScriptRedis({ appendfsync: 'no' }));
});

it('empties the witness of a coupon that is sold out', async () => {
  const shard = new ScriptShard(redis);
  await shard.openEmpty();
  await shard.change('sale', { version: 1, delta: 1 });
  const witness = new Witness();
  witness.serve(SCRIPT_SHARD, shard.epoch);
  const claim = async (userId: string) => {
    const call = encodeClaims(SCRIPT_SHARD, shard.epoch, [new PendingClaim('sale', userId, Infinity, () => undefined)]);
    const reply = decodeReply(await shard.run('claim', call.keys, call.args), call);
    if (reply === 'fenced') throw new Error('the shard is fenced');
    const told = reply.outcomes.flatMap((outcome) =>
      outcome.status === 'refused'
        ? []
        : [{ couponId: 'sale', userId, ...outcome.receipt, at: outcome.receipt.claimedAt, returnedAt: undefined }],
    );
    expect(witness.remember(SCRIPT_SHARD, shard.epoch, reply.ends, told)).toBe(true);
    return reply;
  };
  const confirmations = new Confirmations({ redis, scripts: shard.scripts, witness, log: createLog('test', 'silent') });
  confirmations.start();
  try {
    await claim('ann');
    expect(witness.size).toBe(1);
    await shard.acknowledge(await shard.readOutbox());
    const emptied = async () => {
      expect(await claim('bob')).toMatchObject({ outcomes: [{ code: 'sold_out' }], ends: undefined });
      return witness.size === 0;
    };
    await waitFor(emptied, { what: 'the witness to be empty' });
  } finally {
    await confirmations.stop();
  }
});
