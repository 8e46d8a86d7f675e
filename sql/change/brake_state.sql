-- What the brake must know: requeues of the last 24 hours, whether it is on, what the circuit breaker said last.
-- Parameters: none.
-- Columns: requeued_day, braked_at, breaker_open, breaker_age_s.
SELECT (SELECT count(*) FROM healer.action a
         WHERE a.action = 'reset_status_to_queued' AND a.applied_at > now() - interval '24 hours'
           AND a.undone_at IS NULL) AS requeued_day,
       (SELECT max(r.started_at) FROM healer.run r
         WHERE r.pass = 'heal' AND r.brake
           AND r.started_at > coalesce((SELECT max(x.started_at) FROM healer.run x
                                         WHERE x.pass = 'heal' AND x.max_actions IS NOT NULL), '-infinity')
       ) AS braked_at,
       coalesce(s.breaker_open, false) AS breaker_open, s.breaker_age_s
  FROM (SELECT 1) one
  LEFT JOIN LATERAL (
    SELECT bool_or((n.data ->> 'open')::boolean) AS breaker_open,
           min(extract(epoch FROM now() - n.reported_at))::bigint AS breaker_age_s
      FROM (SELECT DISTINCT ON (g.data ->> 'name') g.data, g.reported_at
              FROM healer.signal g
             WHERE g.name = 'breaker' AND g.reported_at > now() - {breaker_fresh}
             ORDER BY g.data ->> 'name', g.reported_at DESC) n
  ) s ON true
