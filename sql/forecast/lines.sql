-- What the heartbeat table says now where it keeps one row for each job: what no pass has noted yet.
-- Parameters: $1 bigint jobs at most.
-- Columns: job, status, success_us, failure_us, updated_us (µs since 1970; NULL for never and for no time).
SELECT h.job_name::text AS job, lower(h.last_run_status::text) AS status,
       CASE WHEN isfinite(h.last_success::timestamptz) THEN (extract(epoch FROM h.last_success::timestamptz) * 1000000)::bigint END AS success_us,
       CASE WHEN isfinite(h.last_failure::timestamptz) THEN (extract(epoch FROM h.last_failure::timestamptz) * 1000000)::bigint END AS failure_us,
       CASE WHEN isfinite(h.updated_at::timestamptz) THEN (extract(epoch FROM h.updated_at::timestamptz) * 1000000)::bigint END AS updated_us
  FROM {heartbeats} h
 WHERE h.job_name IS NOT NULL AND h.job_name::text NOT IN ({own_jobs})
 ORDER BY h.job_name
 LIMIT $1::bigint
