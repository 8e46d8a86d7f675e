-- Notes that posts in recovery were seen again.
-- Parameters: $1 text[] ids.
-- Columns: id.
UPDATE healer.id_recovery SET last_seen = clock_timestamp()
 WHERE post = ANY ($1::text[]) AND resolved_at IS NULL
RETURNING post AS id
