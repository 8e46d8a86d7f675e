-- The last word of the application on its browser queue and its circuit breaker in every five minutes of 30 days.
-- Parameters: none.
-- Columns: at_us (µs since 1970), queued (NULL where it is about the breaker), open (NULL where it is about the queue).
SELECT (extract(epoch FROM s.reported_at) * 1000000)::bigint AS at_us,
       CASE WHEN s.name = 'browser' AND jsonb_typeof(s.data -> 'queued') = 'number'
            THEN (s.data ->> 'queued')::double precision END AS queued,
       CASE WHEN s.name = 'breaker' AND jsonb_typeof(s.data -> 'open') = 'boolean' THEN (s.data ->> 'open')::boolean END AS open
  FROM (SELECT DISTINCT ON (g.name, floor(extract(epoch FROM g.reported_at) / 300)) g.name, g.data, g.reported_at
          FROM healer.signal g
         WHERE g.name IN ('browser', 'breaker') AND g.reported_at > now() - interval '30 days' AND g.reported_at <= now()
         ORDER BY g.name, floor(extract(epoch FROM g.reported_at) / 300), g.reported_at DESC) s
 ORDER BY s.reported_at
 LIMIT 20000
