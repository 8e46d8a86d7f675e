-- How many events may leave, counted up to a limit, and the oldest of them.
-- {keep_types}: conditions on the event type r.event_type for what stays.
-- Parameters: $1 bigint seconds that an event stays; $2 bigint limit.
-- Columns: events, oldest_s.
SELECT count(*) AS events, max(o.age)::bigint AS oldest_s
  FROM (SELECT extract(epoch FROM now() - {events_at}) AS age
          FROM {events} r
         WHERE r.{events_at_column} < {events_at_now} - make_interval(secs => $1::bigint) AND isfinite(r.{events_at_column})
           AND NOT ({keep_types})
         LIMIT $2::bigint) o
