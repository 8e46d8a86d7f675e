-- How many operations normally wait for the browser, by the reports of 14 days.
-- Parameters: none.
-- Columns: reports, days (how long they reach back), p95.
SELECT count(*) AS reports, extract(epoch FROM max(g.reported_at) - min(g.reported_at))::double precision / 86400 AS days,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY g.queued) AS p95
  FROM (SELECT s.reported_at, (s.data ->> 'queued')::double precision AS queued
          FROM healer.signal s
         WHERE s.name = 'browser' AND s.reported_at > now() - interval '14 days' AND s.reported_at <= now()
           AND jsonb_typeof(s.data -> 'queued') = 'number'
         ORDER BY s.reported_at DESC
         LIMIT 50000) g
 WHERE g.queued >= 0
