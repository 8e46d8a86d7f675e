-- Deletes old events, and journals how many.
-- {keep_types}: conditions on the event type r.event_type for what stays.
-- Parameters: $1 bigint seconds that an event stays; $2 bigint limit; $3 bigint run; $4 text the table; $5 text reason.
-- Columns: events.
WITH chosen AS MATERIALIZED (
  SELECT r.ctid AS place FROM {events} r
   WHERE r.{events_at_column} < {events_at_now} - make_interval(secs => $1::bigint) AND isfinite(r.{events_at_column})
     AND NOT ({keep_types})
   ORDER BY r.{events_at_column}
   LIMIT $2::bigint
   FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM {events} r USING chosen c WHERE r.ctid = c.place RETURNING 1
)
INSERT INTO healer.action (run_id, check_name, type, action, relation, target, before, after, reason)
SELECT $3::bigint, 'event-retention', 'event_retention', 'delete_events', 'database', $4::text, NULL,
       jsonb_build_object('outcome', 'done', 'events', (SELECT count(*) FROM gone)), $5::text
RETURNING (after ->> 'events')::bigint AS events
