-- Notes the runs of the system's jobs that the heartbeats tell of and that were not noted before: the last success, the
-- last failure, and a run that was skipped.
-- Parameters: none.
-- Columns: none.
INSERT INTO healer.job_run (job, status, at, error, source)
SELECT h.job_name::text, w.status, w.at, CASE WHEN w.status <> 'success' THEN left(h.last_error::text, 500) END, 'pass'
  FROM {heartbeats} h
 CROSS JOIN LATERAL (VALUES ('success', h.last_success::timestamptz), ('failure', h.last_failure::timestamptz),
         ('skipped', CASE WHEN lower(h.last_run_status::text) = 'skipped' THEN h.updated_at::timestamptz END)) AS w (status, at)
 WHERE h.job_name NOT IN ({own_jobs}) AND w.at > now() - interval '30 days' AND w.at <= now()
ON CONFLICT (job, at, status) DO NOTHING
