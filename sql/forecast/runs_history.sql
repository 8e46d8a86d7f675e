-- The newest runs of each of the system's jobs where the heartbeat table keeps one row for each run: of 30 days, of the
-- newest 100,000 rows. One row a job.
-- {run_at}: when the row was written, as timestamptz. {run_ms}: how long the run took, or NULL.
-- Parameters: $1 bigint jobs at most; $2 bigint runs of each.
-- Columns: as in forecast/runs.
WITH recent AS MATERIALIZED (
  SELECT h.job_name::text AS job, lower(h.status::text) AS status, {run_at} AS at, {run_ms} AS ms
    FROM {heartbeats} h
   WHERE {run_at} > now() - interval '30 days' AND isfinite({run_at}) AND h.job_name IS NOT NULL
     AND h.job_name::text NOT IN ({own_jobs})
   ORDER BY h.created_at DESC
   LIMIT 100000
), ranked AS (
  SELECT r.*, row_number() OVER (PARTITION BY r.job ORDER BY r.at DESC) AS place
    FROM recent r WHERE r.at <= now() + interval '1 minute'
)
SELECT t.job, (extract(epoch FROM t.first) * 1000000)::bigint AS first_us, t.future,
       (SELECT jsonb_agg(jsonb_build_array((extract(epoch FROM r.at) * 1000000)::bigint, r.ms, r.status, true))
          FROM ranked r WHERE r.job = t.job AND r.place <= $2::bigint) AS runs
  FROM (SELECT r.job, min(r.at) AS first, count(*) FILTER (WHERE r.at > now() + interval '1 minute') AS future
          FROM recent r GROUP BY r.job ORDER BY r.job LIMIT $1::bigint) t
