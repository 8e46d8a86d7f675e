-- Adds healer's own line to the heartbeats where they keep one row for each run.
-- Parameters: $1 text job; $2 boolean success; $3 text error, '' for none; $4 bigint duration in ms.
-- Columns: written.
INSERT INTO {heartbeats} (job_name, status, execution_time_ms, created_at)
VALUES ($1::text, CASE WHEN $2::boolean THEN 'success' ELSE 'failure' END, $4::bigint, now())
RETURNING true AS written
