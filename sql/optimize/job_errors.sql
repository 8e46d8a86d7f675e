-- The errors that events of the last 7 days tell of a job, the most frequent first.
-- Parameters: $1 text job.
-- Columns: kind, message (cut), number, last_s (age of the newest).
SELECT e.kind, e.message, count(*) AS number, min(e.age)::bigint AS last_s
  FROM (SELECT r.event_type AS kind, left(r.{events_json} ->> 'error_message', 200) AS message,
               extract(epoch FROM now() - {events_at}) AS age
          FROM {events} r
         WHERE r.{events_at_column} > {events_at_now} - interval '7 days' AND r.{events_at_column} <= {events_at_now}
           AND r.event_type LIKE 'error\_%'
           AND (r.{events_json} ->> 'component' = $1::text OR r.{events_json} ->> 'job' = $1::text
                OR r.{events_json} ->> 'job_name' = $1::text)
         LIMIT 20000) e
 GROUP BY e.kind, e.message
 ORDER BY count(*) DESC
 LIMIT 10
