-- The latest reconciliation of any instance: what the metrics of all of them report.
CREATE TABLE reconciliation (
  id TINYINT UNSIGNED NOT NULL PRIMARY KEY,
  finished_at DATETIME(3) NOT NULL,
  -- The audit's report and the repairs, as JSON.
  result MEDIUMBLOB NOT NULL
) ENGINE = InnoDB;
