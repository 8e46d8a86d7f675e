-- How long the browser's queue was over the last 24 hours.
-- Parameters: none.
-- Columns: reports, mean_queued, most_queued, mean_active, most_active.
SELECT count(*) AS reports, avg(q.queued)::double precision AS mean_queued, max(q.queued) AS most_queued,
       avg(q.active)::double precision AS mean_active, max(q.active) AS most_active
  FROM (SELECT CASE WHEN jsonb_typeof(g.data -> 'queued') = 'number' THEN (g.data ->> 'queued')::numeric::bigint END AS queued,
               CASE WHEN jsonb_typeof(g.data -> 'active') = 'number' THEN (g.data ->> 'active')::numeric::bigint END AS active
          FROM healer.signal g
         WHERE g.name = 'browser' AND g.reported_at > now() - interval '24 hours' AND g.reported_at <= now()
         ORDER BY g.reported_at DESC
         LIMIT 20000) q
 WHERE q.queued >= 0 AND q.active >= 0
