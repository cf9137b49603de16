-- What a rebuild needs to know when Redis has forgotten its newest writes: who may have answered, what they say, and which
-- claim numbers are in doubt.

-- `opened_epoch`: under which the shard was last open; only under this one may anybody have been answered since.
-- `gathered_epoch`: up to which it is settled who holds what. An entry of such an epoch that turns up later was told to nobody.
ALTER TABLE shard
  ADD opened_epoch BIGINT UNSIGNED NOT NULL DEFAULT 0,
  ADD gathered_epoch BIGINT UNSIGNED NOT NULL DEFAULT 0;
UPDATE shard SET opened_epoch = epoch;

-- The highest claim number when the coupon was last loaded: Redis began to hand out behind it.
ALTER TABLE coupon ADD base_no BIGINT UNSIGNED NOT NULL DEFAULT 0;

-- Processes that answer claims. `place`, `pid` and `start_ticks` let the same machine prove that one is dead.
CREATE TABLE worker (
  worker VARBINARY(64) NOT NULL PRIMARY KEY,
  name VARBINARY(64) NOT NULL,
  place VARBINARY(128) NOT NULL,
  pid INT UNSIGNED NOT NULL,
  start_ticks VARBINARY(32) NOT NULL,
  registered_at DATETIME(3) NOT NULL
) ENGINE = InnoDB;

-- Who may have answered under which epoch of a shard. `reported`: it has said what it holds, and answers nothing more of
-- that epoch. `missed`: a rebuild could not wait for it.
CREATE TABLE worker_epoch (
  shard SMALLINT UNSIGNED NOT NULL,
  epoch BIGINT UNSIGNED NOT NULL,
  worker VARBINARY(64) NOT NULL,
  state ENUM ('registered', 'reported', 'missed') NOT NULL,
  PRIMARY KEY (shard, epoch, worker),
  KEY epochs_of_worker (worker)
) ENGINE = InnoDB;

-- Claims, and their returns, that witnesses hold, on their way into coupon_claim_log.
CREATE TABLE claim_report (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  shard SMALLINT UNSIGNED NOT NULL,
  epoch BIGINT UNSIGNED NOT NULL,
  worker VARBINARY(64) NOT NULL,
  coupon_id VARBINARY(64) NOT NULL,
  claim_no BIGINT UNSIGNED NOT NULL,
  user_id VARBINARY(64) NOT NULL,
  claimed_at DATETIME(3) NOT NULL,
  returned_at DATETIME(3) NULL,
  KEY reports_of_shard (shard, id)
) ENGINE = InnoDB;

-- Ranges of claim numbers that Redis may have handed out under `epoch` while somebody who answered cannot be heard. Those
-- without a row are withheld: their units are kept back until a late report fills them, or they are released. Then they are
-- void: no number is used twice.
CREATE TABLE coupon_withheld (
  coupon_id VARBINARY(64) NOT NULL,
  first_no BIGINT UNSIGNED NOT NULL,
  last_no BIGINT UNSIGNED NOT NULL,
  shard SMALLINT UNSIGNED NOT NULL,
  epoch BIGINT UNSIGNED NOT NULL,
  withheld_at DATETIME(3) NOT NULL,
  released_at DATETIME(3) NULL,
  PRIMARY KEY (coupon_id, first_no),
  UNIQUE KEY one_range_per_epoch (coupon_id, epoch),
  KEY withheld_of_shard (shard, epoch)
) ENGINE = InnoDB;
