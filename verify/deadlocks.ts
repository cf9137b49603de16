// A session of MariaDB that gets in the way of the ledger: it locks the newest claims of every shard and then the shards,
// which the ledger locks the other way round, so that one of the two is the victim of a deadlock. It changes nothing.
import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from '../platform/mysql.js';
import { isLockConflict } from '../platform/mysql.js';

/** The ledger commits several times in this time. */
const HOLD_MS = 150;
/** InnoDB takes the session with fewer changes for the victim: with these it is the ledger. */
const BALLAST_ROWS = 2_000;

/** Resolves when the locks are gone again. */
export async function lockAgainstTheLedger(root: Pool, signal: AbortSignal): Promise<void> {
  await root.query('CREATE TABLE IF NOT EXISTS verify_ballast (n INT) ENGINE = InnoDB');
  await root.withConnection(async (connection) => {
    await connection.query('START TRANSACTION');
    try {
      const ballast = Array.from({ length: BALLAST_ROWS }, (_, n) => [n]);
      await connection.query('INSERT INTO verify_ballast VALUES ?', [ballast]);
      await connection.query(
        'SELECT coupon_id FROM coupon_claim_log ORDER BY coupon_id DESC, claim_no DESC LIMIT 50 FOR UPDATE',
      );
      await delay(HOLD_MS, undefined, { signal }).catch(() => undefined);
      await connection.query('SELECT shard FROM shard FOR UPDATE');
    } catch (error) {
      // The other one's luck: the locks are gone.
      if (!isLockConflict(error)) throw error;
    } finally {
      await connection.query('ROLLBACK');
    }
  });
}
