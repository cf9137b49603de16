-- Outbox entries that MySQL refuses, or of which it holds something else. They have left the outbox and are tried again from
-- here: `retrying` by themselves, `parked` when somebody asks for it. A claim among them is a promise to its user like any other.
CREATE TABLE dead_letter (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  shard SMALLINT UNSIGNED NOT NULL,
  -- Of the stream entry as it came first, with what it said: the same entry delivered again is one dead letter.
  entry_id VARBINARY(64) NOT NULL,
  fingerprint BINARY(32) NOT NULL,
  kind ENUM ('grant', 'return', 'change', 'unreadable') NOT NULL,
  coupon_id VARBINARY(255) NULL,
  claim_no BIGINT UNSIGNED NULL,
  user_id VARBINARY(255) NULL,
  -- Names and values of the entry, in turn, as a JSON array.
  fields MEDIUMBLOB NOT NULL,
  reason VARCHAR(500) CHARACTER SET utf8mb4 NOT NULL,
  status ENUM ('retrying', 'parked') NOT NULL,
  -- How often it was refused.
  attempts INT UNSIGNED NOT NULL,
  next_attempt_at DATETIME(3) NULL,
  created_at DATETIME(3) NOT NULL,
  UNIQUE KEY one_letter_per_entry (shard, entry_id, fingerprint),
  KEY dead_letter_by_coupon (coupon_id),
  KEY dead_letter_by_time (status, next_attempt_at)
) ENGINE = InnoDB;
