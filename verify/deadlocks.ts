// A session of MariaDB that gets in the way of the ledger: it locks the end of the claims of the newest coupons and then the
// shards, which the ledger locks the other way round, so that one of the two is the victim of a deadlock. It changes nothing.
import { setTimeout as delay } from 'node:timers/promises';
import type { Connection, Pool, RowDataPacket } from '../platform/mysql.js';
import { isLockConflict } from '../platform/mysql.js';

/** The ledger commits several times in this time. */
const HOLD_MS = 150;
/** InnoDB takes the session with fewer changes for the victim: with these it is the ledger. */
const BALLAST_ROWS = 2_000;
/** Those of the latest generation, which most claims are for. */
const COUPONS = 3;

/** Resolves when the locks are gone again. */
export async function lockAgainstTheLedger(root: Pool, signal: AbortSignal): Promise<void> {
  await root.query('CREATE TABLE IF NOT EXISTS verify_ballast (n INT) ENGINE = InnoDB');
  await root.withConnection(async (connection) => {
    // For this transaction only. The session's own level has no locks of gaps, and new claims would go past it.
    await connection.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
    await connection.query('START TRANSACTION');
    try {
      const ballast = Array.from({ length: BALLAST_ROWS }, (_, n) => [n]);
      await connection.query('INSERT INTO verify_ballast VALUES ?', [ballast]);
      await lockNewestClaims(connection);
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

/** The highest claim of each coupon, and the gap behind it into which the next one is inserted. */
async function lockNewestClaims(connection: Connection): Promise<void> {
  const [coupons] = await connection.query<RowDataPacket[]>(
    'SELECT coupon_id FROM coupon ORDER BY created_at DESC LIMIT ?',
    [COUPONS],
  );
  for (const coupon of coupons) {
    await connection.query(
      'SELECT claim_no FROM coupon_claim_log WHERE coupon_id = ? ORDER BY claim_no DESC LIMIT 1 FOR UPDATE',
      [coupon['coupon_id']],
    );
  }
}
