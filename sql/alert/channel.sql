-- Enters how a channel did.
-- Parameters: $1 text name; $2 timestamptz last success; $3 timestamptz failing since; $4 bigint failures;
--   $5 text last error, '' for none; $6 timestamptz not to be called before.
-- Columns: name.
INSERT INTO healer.alert_channel (name, last_success, failing_since, failures, last_error, not_before, updated_at)
VALUES ($1::text, $2::timestamptz, $3::timestamptz, $4::bigint, nullif($5::text, ''), $6::timestamptz, clock_timestamp())
ON CONFLICT (name) DO UPDATE
   SET last_success = excluded.last_success, failing_since = excluded.failing_since, failures = excluded.failures,
       last_error = excluded.last_error, not_before = excluded.not_before, updated_at = excluded.updated_at
RETURNING name
