-- Branch of heal/circuit_breaker: events that tell of the breaker, and the ticks of the posting queue.
(SELECT 'event'::text AS source, r.event_type::text AS kind,
        extract(epoch FROM now() - {events_at})::bigint AS age_s, r.{events_json}::jsonb AS data
   FROM {events} r
  WHERE r.{events_at_column} > {events_at_now} - {breaker_window} AND isfinite(r.{events_at_column})
    AND (r.event_type ILIKE '%circuit\_breaker%' OR r.event_type ILIKE '%watchdog%' OR r.event_type = 'POSTING_QUEUE_TICK'
         OR (r.event_type = 'POSTING_QUEUE_BLOCKED' AND r.{events_json}::jsonb ->> 'reason' ILIKE '%circuit%'))
  ORDER BY r.{events_at_column} DESC
  LIMIT 200)
