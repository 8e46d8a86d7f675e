-- The system's jobs where the heartbeat table keeps one row for each run: of 14 days, the newest 20,000 rows.
-- Parameters: none.
-- Columns: as in heal/job_heartbeats.
WITH recent AS MATERIALIZED (
  SELECT h.job_name::text AS job, lower(h.status::text) AS status, h.created_at AS at,
         extract(epoch FROM now() - h.created_at)::bigint AS age_s
    FROM {heartbeats} h
   WHERE h.created_at > now() - interval '14 days' AND isfinite(h.created_at) AND h.job_name NOT IN ({own_jobs})
   ORDER BY h.created_at DESC
   LIMIT 20000
), gaps AS (
  SELECT r.job, (percentile_disc(0.5) WITHIN GROUP (ORDER BY r.gap_s))::bigint AS interval_s, count(*) AS runs
    FROM (SELECT r.job, extract(epoch FROM r.at - lag(r.at) OVER (PARTITION BY r.job ORDER BY r.at)) AS gap_s
            FROM recent r WHERE r.status IS DISTINCT FROM 'running' AND r.at <= now()) r
   WHERE r.gap_s > 0
   GROUP BY r.job
), latest AS (
  SELECT DISTINCT ON (r.job) r.job, r.status, r.age_s FROM recent r WHERE r.age_s > -60 ORDER BY r.job, r.age_s
), told AS (
  SELECT r.job, min(r.age_s) FILTER (WHERE r.status IN ({success_words})) AS success_s,
         min(r.age_s) FILTER (WHERE r.status IN ({failure_words})) AS failure_s, min(r.age_s) AS newest_s
    FROM recent r GROUP BY r.job
)
SELECT t.job, l.status, t.success_s, t.failure_s, coalesce(l.age_s, t.newest_s) AS updated_s,
       (SELECT count(*) FROM recent r WHERE r.job = t.job AND r.status IN ({failure_words})
           AND r.age_s < coalesce((SELECT min(s.age_s) FROM recent s WHERE s.job = t.job AND s.status IN ({success_words})), 1e12)) AS failures,
       NULL::text AS error, g.interval_s, g.runs
  FROM told t
  LEFT JOIN latest l ON l.job = t.job
  LEFT JOIN gaps g ON g.job = t.job
 ORDER BY t.job
 LIMIT 1000
