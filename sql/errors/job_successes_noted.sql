-- Branch of errors/job_successes: successes that healer noted.
SELECT left(r.job, 200) AS job, r.at, true AS each
  FROM healer.job_run r
 WHERE r.at > {errors_since} AND r.status = 'success' AND isfinite(r.at)
