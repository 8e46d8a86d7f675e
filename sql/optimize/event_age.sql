-- The age of the oldest event.
-- Parameters: none.
-- Columns: oldest_s.
SELECT extract(epoch FROM now() - min({events_at}))::bigint AS oldest_s FROM {events} r WHERE isfinite(r.{events_at_column})
