-- The system's jobs where the heartbeat table keeps one row for each: healer's own lines are left out.
-- {job_history}: heal/job_history, or nothing where the schema cannot be read.
-- Parameters: none.
-- Columns: job, status, success_s, failure_s, updated_s (ages; NULL: never), failures (in a row), error, interval_s (usual
--   time between two runs), runs (how many it was learned from).
SELECT h.job_name::text AS job, lower(h.last_run_status::text) AS status,
       CASE WHEN isfinite(h.last_success) THEN extract(epoch FROM now() - h.last_success)::bigint END AS success_s,
       CASE WHEN isfinite(h.last_failure) THEN extract(epoch FROM now() - h.last_failure)::bigint END AS failure_s,
       CASE WHEN isfinite(h.updated_at) THEN extract(epoch FROM now() - h.updated_at)::bigint END AS updated_s,
       h.consecutive_failures::bigint AS failures, left(h.last_error::text, 160) AS error, l.interval_s, l.runs
  FROM {heartbeats} h
  LEFT JOIN LATERAL (
{job_history}
  ) l ON true
 WHERE h.job_name NOT IN ({own_jobs})
 ORDER BY h.job_name
 LIMIT 1000
