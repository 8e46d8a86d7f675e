-- What stood beside the stuck posts in the last hour: rate limits, breaker events, the latest errors.
-- Parameters: none.
-- Columns: kind (event type), seen (how often), last (latest message).
SELECT e.event_type::text AS kind, count(*) AS seen,
       left((array_agg(coalesce(e.data ->> 'error_message', e.data ->> 'reason', e.data ->> 'error', '')
             ORDER BY e.at DESC))[1], 160) AS last
  FROM (
   SELECT r.event_type, r.{events_json}::jsonb AS data, {events_at} AS at
     FROM {events} r
    WHERE r.{events_at_column} > {events_at_now} - interval '1 hour'
    ORDER BY r.{events_at_column} DESC
    LIMIT 5000
  ) e
 WHERE e.event_type ILIKE '%rate_limit%' OR e.event_type ILIKE '%circuit_breaker%'
    OR e.event_type LIKE 'error\_%' AND e.event_type NOT IN ('error_analysis_complete', 'error_spike_alert',
       'error_healing_cycle_failed', 'error_optimization_failed', 'error_analysis_failed')
    OR e.event_type IN ('POST_FAILED', 'POSTING_QUEUE_BLOCKED')
 GROUP BY e.event_type
 ORDER BY seen DESC, kind
 LIMIT 5
