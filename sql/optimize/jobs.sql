-- How long the system's jobs run and how they end, over a day, a week, and two weeks of their own past.
-- {job_runs}: optimize/jobs_history or optimize/jobs_noted.
-- Parameters: none.
-- Columns: job; day, week (JSON: runs, failed, skipped, measured, mean, median, p95, p99, max; times in ms); past (the same
--   of the 13 days before the last day, and its p90); streak (longest row of failures in 7 days); odd (durations below zero
--   or beyond reason), unmeasured (runs without one), future (times that lie ahead), days (JSON: age in days, median, runs).
WITH runs AS MATERIALIZED (
  SELECT r.job, r.status, r.at, r.ms,
         CASE WHEN r.ms >= 0 AND r.ms < 1e11 THEN r.ms END AS good,
         extract(epoch FROM now() - r.at) / 86400.0 AS age
    FROM (
{job_runs}
    ) r
   WHERE r.status IS DISTINCT FROM 'running'
), known AS MATERIALIZED (
  SELECT r.*, r.status IN ({success_words}) AS succeeded, r.status IN ({failure_words}) AS failed
    FROM runs r WHERE r.age > -0.0007 AND r.age < 14
), streaks AS (
  SELECT i.job, max(i.length) AS longest
    FROM (SELECT g.job, count(*) AS length
            FROM (SELECT k.job, k.failed,
                         row_number() OVER (PARTITION BY k.job ORDER BY k.at)
                         - row_number() OVER (PARTITION BY k.job, k.failed ORDER BY k.at) AS island
                    FROM known k WHERE k.age < 7) g
           WHERE g.failed GROUP BY g.job, g.island) i
   GROUP BY i.job
), daily AS (
  SELECT d.job, jsonb_agg(jsonb_build_array(d.day, d.median, d.runs) ORDER BY d.day DESC) AS days
    FROM (SELECT k.job, floor(greatest(k.age, 0))::int AS day, percentile_cont(0.5) WITHIN GROUP (ORDER BY k.good) AS median,
                 count(k.good) AS runs
            FROM known k WHERE k.good IS NOT NULL GROUP BY k.job, floor(greatest(k.age, 0))) d
   GROUP BY d.job
), ahead AS (
  SELECT r.job, count(*) AS future FROM runs r WHERE r.age <= -0.0007 GROUP BY r.job
)
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
       coalesce((SELECT s.longest FROM streaks s WHERE s.job = k.job), 0)::bigint AS streak,
       count(*) FILTER (WHERE k.ms IS NOT NULL AND k.good IS NULL) AS odd,
       count(*) FILTER (WHERE k.ms IS NULL) AS unmeasured,
       coalesce((SELECT a.future FROM ahead a WHERE a.job = k.job), 0)::bigint AS future,
       coalesce((SELECT d.days FROM daily d WHERE d.job = k.job), '[]') AS days
  FROM known k
 GROUP BY k.job
 ORDER BY coalesce(sum(k.good), 0) DESC, k.job
 LIMIT 500
