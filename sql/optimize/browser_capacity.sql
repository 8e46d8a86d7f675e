-- How many operations the browser allows at once, as the application last reported within a week.
-- Parameters: none.
-- Columns: capacity (NULL: not told).
SELECT (SELECT CASE WHEN jsonb_typeof(g.data -> 'capacity') = 'number' THEN (g.data ->> 'capacity')::numeric::bigint END
          FROM healer.signal g
         WHERE g.name = 'browser' AND g.reported_at > now() - interval '7 days' AND g.reported_at <= now() + interval '1 minute'
         ORDER BY g.reported_at DESC
         LIMIT 1) AS capacity
