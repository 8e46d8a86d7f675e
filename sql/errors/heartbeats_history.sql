-- Failed runs of the system's jobs, where the heartbeat table keeps one row for each run.
-- {errors_run_text}: its column with the error, where it has one.
-- Parameters: none (it stands behind a cursor).
-- Columns: as in errors/events.
SELECT r.created_at AS at, 'heartbeat'::text AS kind, NULL::text AS severity, left(r.job_name::text, 200) AS component,
       'job_failed'::text AS class, left(coalesce({errors_run_text}, ''), 16384) AS message, NULL::text AS post,
       left(r.job_name::text, 200) AS job, NULL::text AS sqlstate, NULL::text AS http, NULL::text AS recovered,
       NULL::text AS recovery_ms, false AS post_found, NULL::boolean AS posted, NULL::timestamptz AS posted_at
  FROM {heartbeats} r
 WHERE r.created_at > {errors_since} AND r.created_at <= {errors_until} AND isfinite(r.created_at)
   AND lower(r.status::text) IN ({failure_words}) AND r.job_name NOT IN ({own_jobs})
 ORDER BY r.created_at
