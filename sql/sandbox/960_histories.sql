-- Purpose: what the passes and the trigger of weeks have noted: the runs of the jobs, one of which takes 3 % longer every
--          time, and how full the resources were, one of which is a sequence that will be full in six days. It runs after
--          the schema healer exists.
-- Parameters: none. Columns: none.

-- Runs are counted back from what the heartbeats say. Noise is a hash of the run's number (Box-Muller).
INSERT INTO healer.job_run (job, status, at, duration_ms, source)
SELECT j.job, 'success', h.last_success - n.i * j.every,
       (j.typical_ms * exp(j.spread * n.e) * CASE WHEN j.creeps THEN power(1.03, greatest(40 - n.i, 0)) ELSE 1 END)::bigint, 'trigger'
  FROM (VALUES
      -- Innocent neighbours, one of them with a heavy tail.
      ('posting', interval '5 minutes', 40000, 0.4, 300, false),
      ('plan', interval '2 hours', 90000, 0.7, 120, false),
      ('health_check', interval '5 minutes', 900, 0.3, 300, false),
      ('id_recovery', interval '10 minutes', 5000, 0.5, 300, false),
      ('account_discovery', interval '6 hours', 240000, 0.15, 60, false),
      -- Creeping: from 60 s to above 190 s in 40 runs; it may take 300 s.
      ('trend_refresh', interval '30 minutes', 60000, 0.2, 110, true),
      -- Late, failing, skipped: their runs end where the heartbeats say so.
      ('reply_posting', interval '15 minutes', 30000, 0.4, 200, false),
      ('metrics_scraper', interval '20 minutes', 45000, 0.3, 200, false),
      ('learn', interval '30 minutes', 20000, 0.3, 100, false),
      ('attribution', interval '1 hour', 15000, 0.3, 100, false)
  ) AS j (job, every, typical_ms, spread, runs, creeps)
  JOIN public.job_heartbeats h ON h.job_name = j.job
 CROSS JOIN LATERAL (
    SELECT i, sqrt(-2 * ln(1 - u)) * cos(2 * pi() * v) AS e
      FROM (SELECT i, (hashint8extended(i, hashtextextended(j.job, 1)) & 1048575) / 1048576.0 AS u,
                   (hashint8extended(i, hashtextextended(j.job, 2)) & 1048575) / 1048576.0 AS v
              FROM generate_series(0, j.runs) AS i) AS drawn
 ) AS n
ON CONFLICT (job, at, status) DO NOTHING;

INSERT INTO healer.job_run (job, status, at, duration_ms, error, source)
SELECT h.job_name, 'failure', h.last_failure - n * interval '20 minutes', 45000, h.last_error, 'trigger'
  FROM public.job_heartbeats h, generate_series(0, 3) AS n WHERE h.job_name = 'metrics_scraper'
UNION ALL
SELECT h.job_name, 'skipped', h.updated_at - n * interval '30 minutes', NULL, h.last_error, 'trigger'
  FROM public.job_heartbeats h, generate_series(0, 24) AS n WHERE h.job_name = 'learn'
UNION ALL
SELECT h.job_name, 'failure', h.last_failure, 15000, h.last_error, 'trigger' FROM public.job_heartbeats h WHERE h.job_name = 'attribution'
UNION ALL
-- Flapping for three days, well before that.
SELECT h.job_name, CASE WHEN n % 2 = 0 AND n < 144 THEN 'failure' ELSE 'success' END, h.last_failure - n * interval '30 minutes', 25000 + 37 * n, NULL, 'trigger'
  FROM public.job_heartbeats h, generate_series(0, 250) AS n WHERE h.job_name = 'peer_scraper'
ON CONFLICT (job, at, status) DO NOTHING;

-- 90 million ids are left, and 15 million go in a day: six days.
CREATE SEQUENCE public.engagement_snapshot_id_seq AS integer;
SELECT setval('public.engagement_snapshot_id_seq', 2147483647 - 90000000);
INSERT INTO healer.resource_sample (resource, at, value, most)
SELECT 'sequence public.engagement_snapshot_id_seq', now() - i * interval '2 hours',
       2147483647 - 90000000 - (i + 0.4 * sin(i * 7)) * 1250000, 2147483647
  FROM generate_series(1, 240) AS i
UNION ALL
-- Innocent neighbours: connections as ever, and an event table that grows and has room.
SELECT 'connections', now() - i * interval '2 hours', 14 + round(3 * sin(i * 5.0) + 2 * sin(i * 11.0)), 97 FROM generate_series(1, 240) AS i
UNION ALL
SELECT 'event table (MB)', now() - i * interval '2 hours', pg_total_relation_size('public.system_events') / 1048576.0 * (1 - i / 1200.0), 10240
  FROM generate_series(1, 240) AS i;
