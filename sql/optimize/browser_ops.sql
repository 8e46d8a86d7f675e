-- Browser operations that have ended, of the last 7 days, the newest 20,000: when each was reported, and its times.
-- Parameters: none.
-- Columns: operation, ended_s (seconds before now), waited_ms, held_ms, ok.
SELECT o.operation, o.ended_s, o.waited_ms, o.held_ms, o.ok
  FROM (SELECT left(coalesce(g.data ->> 'operation', ''), 200) AS operation,
               extract(epoch FROM now() - g.reported_at)::double precision AS ended_s,
               CASE WHEN jsonb_typeof(g.data -> 'waited_ms') = 'number' THEN (g.data ->> 'waited_ms')::double precision END AS waited_ms,
               CASE WHEN jsonb_typeof(g.data -> 'held_ms') = 'number' THEN (g.data ->> 'held_ms')::double precision END AS held_ms,
               CASE WHEN jsonb_typeof(g.data -> 'ok') = 'boolean' THEN (g.data ->> 'ok')::boolean END AS ok
          FROM healer.signal g
         WHERE g.name = 'browser_op' AND g.reported_at > now() - interval '7 days' AND g.reported_at <= now()
           AND jsonb_typeof(g.data -> 'ok') = 'boolean'
         ORDER BY g.reported_at DESC
         LIMIT 20000) o
