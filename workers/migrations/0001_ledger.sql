-- The ledger: what Stampede has promised, by whom and when. Ids are bytes (VARBINARY): text collations fold case and
-- accents and ignore trailing spaces, Redis compares bytes. Times are UTC with milliseconds.

-- Facts of the installation that may never change, e.g. shard_count.
CREATE TABLE installation (
  name VARBINARY(64) NOT NULL PRIMARY KEY,
  value VARBINARY(255) NOT NULL
) ENGINE = InnoDB;

-- The authority on epochs. Whoever rebuilds a shard takes the next epoch by compare-and-set and proves it by its token.
CREATE TABLE shard (
  shard SMALLINT UNSIGNED NOT NULL PRIMARY KEY,
  epoch BIGINT UNSIGNED NOT NULL,
  token VARBINARY(64) NULL,
  owner VARBINARY(255) NULL,
  state ENUM ('fenced', 'rebuilding', 'open') NOT NULL,
  updated_at DATETIME(3) NOT NULL
) ENGINE = InnoDB;

-- The definition of every coupon. `version` is what operators asked for, `applied_version` what Redis is known to have
-- done; at most one change is between the two. `total` counts applied stock only. `ceiling`: highest claim number that
-- Redis may hand out.
CREATE TABLE coupon (
  coupon_id VARBINARY(64) NOT NULL PRIMARY KEY,
  shard SMALLINT UNSIGNED NOT NULL,
  version INT UNSIGNED NOT NULL,
  applied_version INT UNSIGNED NOT NULL,
  total BIGINT UNSIGNED NOT NULL,
  opens_at DATETIME(3) NULL,
  closes_at DATETIME(3) NULL,
  paused BOOLEAN NOT NULL,
  ack ENUM ('redis', 'fsync', 'replica', 'ledger') NOT NULL,
  returnable BOOLEAN NOT NULL,
  ceiling BIGINT UNSIGNED NOT NULL,
  -- What the creation asked for, word for word: the same request again is a repeat, any other a conflict.
  created_as VARBINARY(512) NOT NULL,
  created_at DATETIME(3) NOT NULL,
  KEY coupon_by_shard (shard, coupon_id)
) ENGINE = InnoDB;

-- Every grant of stock and every adjustment, with the version of the coupon that it made.
CREATE TABLE coupon_stock_log (
  coupon_id VARBINARY(64) NOT NULL,
  version INT UNSIGNED NOT NULL,
  delta BIGINT NOT NULL,
  reason VARCHAR(200) CHARACTER SET utf8mb4 NOT NULL,
  requested_by VARCHAR(64) CHARACTER SET utf8mb4 NOT NULL,
  idempotency_key VARBINARY(64) NOT NULL,
  status ENUM ('pending', 'applied', 'below_claimed') NOT NULL,
  requested_at DATETIME(3) NOT NULL,
  PRIMARY KEY (coupon_id, version),
  UNIQUE KEY one_change_per_key (coupon_id, idempotency_key)
) ENGINE = InnoDB;

-- One row per claim. The two keys make a second grant of a number, or to a user, impossible here.
CREATE TABLE coupon_claim_log (
  coupon_id VARBINARY(64) NOT NULL,
  claim_no BIGINT UNSIGNED NOT NULL,
  user_id VARBINARY(64) NOT NULL,
  claimed_at DATETIME(3) NOT NULL,
  returned_at DATETIME(3) NULL,
  epoch BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (coupon_id, claim_no),
  UNIQUE KEY one_claim_per_user (coupon_id, user_id)
) ENGINE = InnoDB;
