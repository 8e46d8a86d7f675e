-- Part of optimize/jobs: the runs that healer noted itself, the newest 200,000 of two weeks.
SELECT j.job, j.status, j.at, j.duration_ms::double precision AS ms
  FROM healer.job_run j
 WHERE j.at > now() - interval '14 days' AND isfinite(j.at)
   AND j.job NOT IN ({own_jobs})
 ORDER BY j.at DESC
 LIMIT 200000
