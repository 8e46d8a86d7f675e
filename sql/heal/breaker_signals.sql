-- Branch of heal/circuit_breaker: each breaker's latest signal of the last day, and since when it has been open.
-- A signal from the future is no signal: it is counted.
SELECT 'signal'::text AS source, b.name AS kind,
       min(b.age_s) FILTER (WHERE b.age_s > -60)::bigint AS age_s,
       jsonb_build_object(
         'open', (array_agg(b.open ORDER BY b.age_s) FILTER (WHERE b.age_s > -60))[1],
         'open_s', max(b.age_s) FILTER (WHERE b.open = 'true' AND b.age_s < coalesce(b.closed_s, 1e9)),
         'failures', (array_agg(b.failures ORDER BY b.age_s) FILTER (WHERE b.age_s > -60))[1],
         'future', count(*) FILTER (WHERE b.age_s <= -60)) AS data
  FROM (SELECT a.*, min(a.age_s) FILTER (WHERE a.open = 'false' AND a.age_s > -60) OVER (PARTITION BY a.name) AS closed_s
          FROM (SELECT coalesce(g.data ->> 'name', '') AS name, g.data ->> 'open' AS open, g.data ->> 'failures' AS failures,
                       extract(epoch FROM now() - g.reported_at)::bigint AS age_s
                  FROM healer.signal g
                 WHERE g.name = 'breaker' AND g.reported_at > now() - interval '1 day' AND isfinite(g.reported_at)
                 ORDER BY g.reported_at DESC LIMIT 10000) a) b
 GROUP BY b.name
