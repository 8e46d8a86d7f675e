-- Keeps healer's own line among the heartbeats, one row for each job.
-- Parameters: $1 text job; $2 boolean success; $3 text error, '' for none; $4 bigint duration in ms.
-- Columns: written.
INSERT INTO {heartbeats} AS h (job_name, last_success, last_failure, last_run_status, last_error, consecutive_failures,
                               updated_at)
VALUES ($1::text, CASE WHEN $2::boolean THEN now() END, CASE WHEN NOT $2::boolean THEN now() END,
        CASE WHEN $2::boolean THEN 'success' ELSE 'failure' END, left(nullif($3::text, ''), 500),
        CASE WHEN $2::boolean THEN 0 ELSE 1 END, now())
ON CONFLICT (job_name) DO UPDATE
   SET last_success = coalesce(excluded.last_success, h.last_success),
       last_failure = coalesce(excluded.last_failure, h.last_failure),
       last_run_status = excluded.last_run_status, last_error = excluded.last_error,
       consecutive_failures = CASE WHEN $2::boolean THEN 0 ELSE h.consecutive_failures + 1 END, updated_at = now()
RETURNING true AS written
