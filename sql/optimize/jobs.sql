-- How long the system's jobs run and how they end, over a day, a week, and two weeks of their own past.
-- {job_runs}: optimize/jobs_history or optimize/jobs_noted.
-- Parameters: none.
-- Columns: job; day, week (JSON: runs, failed, skipped, measured, mean, median, p95, p99, max; times in ms); past (the same
--   of the 13 days before the last day, and its p90); streak (longest row of failures in 7 days); odd (durations below zero
--   or beyond reason), unmeasured (runs without one), future (times that lie ahead), days (JSON: age in days, median, runs).
WITH runs AS MATERIALIZED (
  SELECT r.job, r.status, r.at, r.ms,
         CASE WHEN r.ms >= 0 AND r.ms < 1e11 THEN r.ms END AS good,
         date_part('epoch', now() - r.at) / 86400.0 AS age
    FROM (
{job_runs}
    ) r
   WHERE r.status IS DISTINCT FROM 'running'
), known AS MATERIALIZED (
  SELECT r.*, r.status IN ({success_words}) AS succeeded, r.status IN ({failure_words}) AS failed
    FROM runs r WHERE r.age > -0.0007 AND r.age < 14
), streaks AS MATERIALIZED (
  SELECT i.job, max(i.length) AS longest
    FROM (SELECT g.job, count(*) AS length
            FROM (SELECT k.job, k.failed,
                         row_number() OVER (PARTITION BY k.job ORDER BY k.at)
                         - row_number() OVER (PARTITION BY k.job, k.failed ORDER BY k.at) AS island
                    FROM known k WHERE k.age < 7) g
           WHERE g.failed GROUP BY g.job, g.island) i
   GROUP BY i.job
), daily AS MATERIALIZED (
  SELECT d.job, jsonb_agg(jsonb_build_array(d.day, d.median, d.runs) ORDER BY d.day DESC) AS days
    FROM (SELECT k.job, floor(greatest(k.age, 0))::int AS day, percentile_cont(0.5) WITHIN GROUP (ORDER BY k.good) AS median,
                 count(k.good) AS runs
            FROM known k WHERE k.good IS NOT NULL GROUP BY k.job, floor(greatest(k.age, 0))) d
   GROUP BY d.job
), ahead AS MATERIALIZED (
  SELECT r.job, count(*) AS future FROM runs r WHERE r.age <= -0.0007 GROUP BY r.job
), summary AS MATERIALIZED (
  SELECT k.job,
         jsonb_build_object(
           'runs', count(*) FILTER (WHERE k.age < 1), 'failed', count(*) FILTER (WHERE k.age < 1 AND k.failed),
           'succeeded', count(*) FILTER (WHERE k.age < 1 AND k.succeeded),
           'skipped', count(*) FILTER (WHERE k.age < 1 AND k.status = 'skipped'), 'measured', count(k.good) FILTER (WHERE k.age < 1),
           'mean', avg(k.good) FILTER (WHERE k.age < 1), 'max', max(k.good) FILTER (WHERE k.age < 1),
           'percentiles', percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY k.good) FILTER (WHERE k.age < 1)) AS day,
         jsonb_build_object(
           'runs', count(*) FILTER (WHERE k.age < 7), 'failed', count(*) FILTER (WHERE k.age < 7 AND k.failed),
           'succeeded', count(*) FILTER (WHERE k.age < 7 AND k.succeeded),
           'skipped', count(*) FILTER (WHERE k.age < 7 AND k.status = 'skipped'), 'measured', count(k.good) FILTER (WHERE k.age < 7),
           'mean', avg(k.good) FILTER (WHERE k.age < 7), 'max', max(k.good) FILTER (WHERE k.age < 7),
           'percentiles', percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY k.good) FILTER (WHERE k.age < 7)) AS week,
         jsonb_build_object(
           'measured', count(k.good) FILTER (WHERE k.age >= 1),
           'percentiles', percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY k.good) FILTER (WHERE k.age >= 1)) AS past,
         count(*) FILTER (WHERE k.ms IS NOT NULL AND k.good IS NULL) AS odd, count(*) FILTER (WHERE k.ms IS NULL) AS unmeasured,
         coalesce(sum(k.good), 0) AS total
    FROM known k
   GROUP BY k.job
)
-- Joined, not asked for each job: that would walk all runs again for each.
SELECT s.job, s.day, s.week, s.past, coalesce(k.longest, 0)::bigint AS streak, s.odd, s.unmeasured,
       coalesce(a.future, 0)::bigint AS future, coalesce(d.days, '[]') AS days
  FROM summary s
  LEFT JOIN streaks k ON k.job = s.job
  LEFT JOIN ahead a ON a.job = s.job
  LEFT JOIN daily d ON d.job = s.job
 ORDER BY s.total DESC, s.job
 LIMIT 500
