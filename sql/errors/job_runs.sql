-- Failed runs of the system's jobs that healer noted, where the heartbeats themselves keep the last failure only.
-- Parameters: none (it stands behind a cursor).
-- Columns: as in errors/events.
SELECT r.at, 'job_run'::text AS kind, NULL::text AS severity, left(r.job, 200) AS component, 'job_failed'::text AS class,
       left(coalesce(r.error, ''), 16384) AS message, NULL::text AS post, left(r.job, 200) AS job, NULL::text AS sqlstate,
       NULL::text AS http, NULL::text AS recovered, NULL::text AS recovery_ms, false AS post_found,
       NULL::boolean AS posted, NULL::timestamptz AS posted_at
  FROM healer.job_run r
 WHERE r.at > {errors_since} AND r.at <= {errors_until} AND isfinite(r.at) AND r.status = 'failure'
   AND r.job NOT IN ({own_jobs})
 ORDER BY r.at
