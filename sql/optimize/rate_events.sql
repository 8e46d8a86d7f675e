-- Events of the last 24 hours that tell of a rate limit that was hit, and the hour with the most.
-- That a check of the limit failed, or that a limit was lifted, is no hit.
-- Parameters: none.
-- Columns: hits, busiest (most in one hour).
WITH hits AS (
  SELECT date_trunc('hour', {events_at}) AS hour
    FROM {events} r
   WHERE r.{events_at_column} > {events_at_now} - interval '24 hours' AND r.{events_at_column} <= {events_at_now}
     AND ((r.event_type ~* 'rate_?limit' AND r.event_type !~* '(check_failed|cleared|lifted|reset|ok)$')
          OR (r.event_type LIKE 'error\_%' AND left(r.{events_json} ->> 'error_message', 500)
              ~* '(^|[^0-9])429([^0-9]|$)|too many requests|rate.?limit (exceeded|hit|reached)'))
)
SELECT count(*) AS hits, coalesce((SELECT max(h.n) FROM (SELECT count(*) AS n FROM hits GROUP BY hour) h), 0)::bigint AS busiest
  FROM hits
