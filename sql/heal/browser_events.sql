-- Branch of heal/browser_queue: events that tell that something waited too long for the browser.
(SELECT 'event'::text AS source, r.event_type::text AS kind,
        extract(epoch FROM now() - {events_at})::bigint AS age_s, r.{events_json}::jsonb AS data
   FROM {events} r
  WHERE r.{events_at_column} > {events_at_now} - {browser_window} AND isfinite(r.{events_at_column})
    AND (r.event_type ILIKE '%browser\_queue%'
         OR (r.event_type = 'POSTING_QUEUE_BLOCKED' AND r.{events_json}::jsonb ->> 'reason' ILIKE '%browser%')
         OR (r.event_type ILIKE '%retry%' AND r.{events_json}::jsonb::text ILIKE '%browser%queue%'))
  ORDER BY r.{events_at_column} DESC
  LIMIT 500)
