-- The newest runs of each of the system's jobs as healer noted them, of 30 days: one row a job.
-- Walks the index from one job to the next, so that its cost does not grow with the history of a busy job.
-- Parameters: $1 bigint jobs at most; $2 bigint runs of each.
-- Columns: job, first_us (its first run that is kept, µs since 1970), future (runs dated ahead), runs (JSON: [end in µs,
--   duration in ms, status, whether the trigger noted it]).
WITH RECURSIVE named AS (
  (SELECT j.job FROM healer.job_run j ORDER BY j.job LIMIT 1)
  UNION ALL
  SELECT (SELECT j.job FROM healer.job_run j WHERE j.job > n.job ORDER BY j.job LIMIT 1)
    FROM named n WHERE n.job IS NOT NULL
), chosen AS (
  SELECT n.job FROM named n WHERE n.job IS NOT NULL AND n.job NOT IN ({own_jobs}) LIMIT $1::bigint
)
SELECT c.job,
       (SELECT (extract(epoch FROM min(j.at)) * 1000000)::bigint FROM healer.job_run j
         WHERE j.job = c.job AND isfinite(j.at)) AS first_us,
       (SELECT count(*) FROM healer.job_run j WHERE j.job = c.job AND j.at > now() + interval '1 minute') AS future,
       (SELECT jsonb_agg(jsonb_build_array((extract(epoch FROM r.at) * 1000000)::bigint, r.duration_ms, r.status, r.source = 'trigger'))
          FROM (SELECT j.at, j.duration_ms, j.status, j.source FROM healer.job_run j
                 WHERE j.job = c.job AND j.at > now() - interval '30 days' AND j.at <= now() + interval '1 minute'
                 ORDER BY j.at DESC LIMIT $2::bigint) r) AS runs
  FROM chosen c
