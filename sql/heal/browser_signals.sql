-- Branch of heal/browser_queue: the last reports of the queue, the operations that hold the browser by their last report,
-- how many reports lie in the future, and what the run before this one found.
(SELECT 'queue'::text AS source, ''::text AS kind, extract(epoch FROM now() - g.reported_at)::bigint AS age_s, g.data
   FROM healer.signal g
  WHERE g.name = 'browser' AND g.reported_at > now() - interval '1 day' AND g.reported_at < now() + interval '1 minute'
  ORDER BY g.reported_at DESC
  LIMIT 20)
UNION ALL
SELECT 'op', o.operation, o.age_s, o.data
  FROM (SELECT DISTINCT ON (r.operation) r.*
          FROM (SELECT coalesce(g.data ->> 'operation', '') AS operation, g.data,
                       extract(epoch FROM now() - g.reported_at)::bigint AS age_s
                  FROM healer.signal g
                 WHERE g.name = 'browser_op' AND g.reported_at > now() - interval '6 hours'
                   AND g.reported_at < now() + interval '1 minute'
                 ORDER BY g.reported_at DESC
                 LIMIT 5000) r
         ORDER BY r.operation, r.age_s) o
 WHERE jsonb_typeof(o.data -> 'ok') = 'null'
UNION ALL
SELECT 'future', g.name, count(*), NULL
  FROM healer.signal g
 WHERE g.name IN ('browser', 'browser_op') AND g.reported_at >= now() + interval '1 minute'
 GROUP BY g.name
UNION ALL
SELECT 'run', c.value ->> 'status', 0, NULL
  FROM (SELECT r.checks FROM healer.run r
         WHERE r.pass = 'heal' AND r.finished_at IS NOT NULL AND jsonb_typeof(r.checks) = 'array'
         ORDER BY r.started_at DESC LIMIT 1) l
 CROSS JOIN LATERAL jsonb_array_elements(l.checks) c
 WHERE c.value ->> 'name' = 'browser-queue'
