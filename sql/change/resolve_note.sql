-- Closes a hold by a person's decision.
-- Parameters: $1 text post; $2 text resolution; $3 text by whom.
-- Columns: id.
UPDATE healer.held_post SET resolved_at = clock_timestamp(), resolution = $2::text, resolved_by = $3::text
 WHERE post = $1::text AND resolved_at IS NULL
RETURNING post AS id
