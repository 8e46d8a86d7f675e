-- Closes a hold by a person's decision, and notes what the row said of having been sent by then.
-- Parameters: $1 text post; $2 text resolution; $3 text by whom; $4 bigint the marks of the row.
-- Columns: id.
UPDATE healer.held_post
   SET resolved_at = clock_timestamp(), resolution = $2::text, resolved_by = $3::text,
       evidence = coalesce(evidence, '{}') || jsonb_build_object('marks', $4::bigint::text)
 WHERE post = $1::text AND resolved_at IS NULL
RETURNING post AS id
