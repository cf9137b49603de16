-- Coupons that ended long ago leave Redis but for a small definition: `begun` while that is under way, then `done`.
ALTER TABLE coupon ADD COLUMN archive_state ENUM ('none', 'begun', 'done') NOT NULL DEFAULT 'none';
ALTER TABLE coupon ADD COLUMN archived_at DATETIME(3) NULL;
ALTER TABLE coupon ADD KEY coupon_by_archive (archive_state, closes_at);
