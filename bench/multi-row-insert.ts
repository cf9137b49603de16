// Multi-row inserts by mysql2 and nothing else, into a table like coupon_claim_log: what the ledger, which does more, is
// compared with. Each statement is a transaction of its own, as durable as the server is set to be.
import type { Connection } from '../platform/mysql.js';

const TABLE = 'bench_claim_log';

export class MultiRowInsert {
  readonly #connections: readonly Connection[];

  /** As many statements are under way as there are connections. They stay the caller's. */
  constructor(connections: readonly Connection[]) {
    this.#connections = connections;
  }

  /** An empty table with the columns and keys of coupon_claim_log; drops the one before. */
  async createTable(): Promise<void> {
    const [connection] = this.#connections;
    await connection?.query(`DROP TABLE IF EXISTS ${TABLE}`);
    await connection?.query(`CREATE TABLE ${TABLE} LIKE coupon_claim_log`);
  }

  /**
   * Rows per second. Claims 1 to `rows` of one coupon, of the users `<userPrefix>0`, …, in the order of their numbers: what
   * a stampede for one coupon leaves.
   */
  async run(couponId: string, userPrefix: string, rows: number, rowsPerStatement: number): Promise<number> {
    let next = 0;
    const startedAt = performance.now();
    const insertOneByOne = async (connection: Connection): Promise<void> => {
      while (next < rows) {
        const first = next;
        next = Math.min(first + rowsPerStatement, rows);
        const claimedAt = new Date();
        const values = Array.from({ length: next - first }, (_, i) => {
          const number = first + i;
          return [couponId, number + 1, Buffer.from(`${userPrefix}${number}`), claimedAt, 1];
        });
        await connection.query(`INSERT INTO ${TABLE} (coupon_id, claim_no, user_id, claimed_at, epoch) VALUES ?`, [
          values,
        ]);
      }
    };
    await Promise.all(this.#connections.map(insertOneByOne));
    return rows / ((performance.now() - startedAt) / 1_000);
  }
}
