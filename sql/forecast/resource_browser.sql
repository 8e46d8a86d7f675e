-- Branch of forecast/resources: operations that wait for the browser, by the last report that is believed.
-- {browser_limit}: how many are critical. {signal_age}: how long a report is believed, as an interval.
SELECT 'browser queue'::text AS resource, (b.data ->> 'queued')::double precision AS value, {browser_limit}::double precision AS most
  FROM (SELECT g.data FROM healer.signal g
         WHERE g.name = 'browser' AND g.reported_at > now() - {signal_age} AND g.reported_at <= now() + interval '1 minute'
         ORDER BY g.reported_at DESC LIMIT 1) b
 WHERE jsonb_typeof(b.data -> 'queued') = 'number' AND (b.data ->> 'queued')::double precision >= 0
