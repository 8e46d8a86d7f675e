-- Closes the record of a run, and gives its lease back.
-- Parameters: $1 bigint run; $2 text status; $3 bigint exit code; $4 text counts as JSON; $5 text checks as JSON;
--   $6 boolean brake; $7 text error, '' for none; $8 text token.
-- Columns: id.
WITH released AS (
  UPDATE healer.lease SET expires_at = '-infinity' WHERE token = $8::text
)
UPDATE healer.run
   SET finished_at = clock_timestamp(), status = $2::text, exit_code = $3::bigint::int, counts = $4::text::jsonb,
       checks = $5::text::jsonb, brake = $6::boolean, error = nullif($7::text, '')
 WHERE id = $1::bigint
RETURNING id
