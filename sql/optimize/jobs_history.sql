-- Part of optimize/jobs: the heartbeat table where it keeps one row for each run, the newest 200,000 of two weeks.
SELECT h.job_name::text AS job, lower(h.status::text) AS status, h.created_at::timestamptz AS at,
       h.execution_time_ms::double precision AS ms
  FROM {heartbeats} h
 WHERE h.created_at > now() - interval '14 days' AND isfinite(h.created_at) AND h.job_name IS NOT NULL
   AND h.job_name NOT IN ({own_jobs})
 ORDER BY h.created_at DESC
 LIMIT 200000
