-- Branch of optimize/memory_told: what healer noted.
SELECT j.job, left(j.error, 200) AS said, j.at
  FROM healer.job_run j
 WHERE j.status = 'skipped' AND j.at > now() - interval '24 hours'
