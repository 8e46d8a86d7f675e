-- The last failure of each of the system's jobs, where the heartbeat table keeps one row for each. healer's own lines are
-- left out.
-- Parameters: none (it stands behind a cursor).
-- Columns: as in errors/events.
SELECT e.at, 'heartbeat'::text AS kind, NULL::text AS severity, e.job AS component, 'job_failed'::text AS class,
       left(e.message, 16384) AS message, NULL::text AS post, e.job, NULL::text AS sqlstate, NULL::text AS http,
       NULL::text AS recovered, NULL::text AS recovery_ms, false AS post_found, NULL::boolean AS posted,
       NULL::timestamptz AS posted_at
  FROM (SELECT left(r.job_name::text, 200) AS job, coalesce(r.last_error::text, '') AS message,
               CASE WHEN isfinite(r.last_failure) THEN r.last_failure
                    WHEN lower(r.last_run_status::text) IN ({failure_words}) THEN r.updated_at END AS at
          FROM {heartbeats} r
         WHERE r.job_name NOT IN ({own_jobs})) e
 WHERE e.at > {errors_since} AND e.at <= {errors_until} AND isfinite(e.at)
 ORDER BY e.at, e.job
