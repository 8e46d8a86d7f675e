-- Branch of errors/breaker_moves: what events tell. A queue that starts something has no open breaker.
SELECT {events_at} AS at,
       CASE WHEN r.event_type = 'POSTING_QUEUE_TICK' OR r.event_type ILIKE '%breaker%reset%' OR r.event_type ILIKE '%breaker%closed%'
            THEN false ELSE true END AS open, left(r.event_type::text, 100) AS words
  FROM {events} r
 WHERE r.{events_at_column} > {errors_events_since} AND r.{events_at_column} <= {errors_events_until}
   AND (r.event_type ILIKE '%circuit\_breaker%' OR r.event_type LIKE 'posting\_consecutive\_failures'
        OR (r.event_type = 'POSTING_QUEUE_BLOCKED' AND {errors_document} ->> 'reason' ILIKE '%circuit%')
        OR (r.event_type = 'POSTING_QUEUE_TICK' AND {errors_document} ->> 'attempts_started' ~ '^[1-9]'))
