-- Branch of errors/job_successes: all jobs and their last success.
SELECT left(r.job_name::text, 200) AS job, CASE WHEN isfinite(r.last_success) THEN r.last_success END AS at, false AS each
  FROM {heartbeats} r WHERE r.job_name NOT IN ({own_jobs})
