-- What receivers of events are told: each row once, whoever finds out about it and however often.
CREATE TABLE event (
  event_id VARBINARY(128) NOT NULL PRIMARY KEY,
  -- What is sent, byte for byte.
  body BLOB NOT NULL,
  created_at DATETIME(3) NOT NULL,
  delivered_at DATETIME(3) NULL,
  KEY event_by_delivery (delivered_at, created_at)
) ENGINE = InnoDB;

-- The state of a coupon or an invariant that was told last.
CREATE TABLE event_told (
  subject VARBINARY(80) NOT NULL PRIMARY KEY,
  state ENUM ('open', 'sold_out', 'closed', 'broken') NOT NULL,
  version BIGINT UNSIGNED NOT NULL
) ENGINE = InnoDB;
