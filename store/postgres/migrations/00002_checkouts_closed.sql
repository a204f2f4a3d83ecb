-- Schemas that were made before migration 1 had it, in the days before the first
-- release. From then on a migration is never changed.
ALTER TABLE qlink.state ADD COLUMN IF NOT EXISTS checkouts_closed timestamptz;
