-- Part of heal/job_heartbeats: how often a job usually runs, by its last 200 runs of 14 days.
SELECT (percentile_disc(0.5) WITHIN GROUP (ORDER BY g.gap_s))::bigint AS interval_s, count(*) AS runs
  FROM (SELECT extract(epoch FROM r.at - lag(r.at) OVER (ORDER BY r.at)) AS gap_s
          FROM (SELECT j.at FROM healer.job_run j
                 WHERE j.job = h.job_name::text AND j.at > now() - interval '14 days' AND j.at <= now()
                 ORDER BY j.at DESC LIMIT 200) r) g
 WHERE g.gap_s > 0
