-- Healing reports of the last day that healer did not write: the job that it replaces still runs.
-- Parameters: none.
-- Columns: reports, newest_age_s.
SELECT count(*) AS reports, extract(epoch FROM now() - max(e.at))::bigint AS newest_age_s
  FROM (SELECT {events_at} AS at, r.{events_json}::jsonb AS data
          FROM {events} r
         WHERE r.event_type = 'self_healing_report' AND r.{events_at_column} > {events_at_now} - interval '1 day'
           AND isfinite(r.{events_at_column})
         ORDER BY r.{events_at_column} DESC LIMIT 500) e
 WHERE NOT e.data ? 'runId'
