-- Joins stored patterns of errors that turned out to be one: their counts are added to the one that stays.
-- Parameters: $1 bigint[] those that stay; $2 bigint[] those that go, in the same order.
-- Columns: joined.
WITH pairs AS MATERIALIZED (
  SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS p (stays, goes)
), gone AS (
  DELETE FROM healer.error_pattern e USING pairs p WHERE e.id = p.goes RETURNING e.id, e.first_seen, p.stays
), earlier AS (
  UPDATE healer.error_pattern e SET first_seen = least(e.first_seen, g.first_seen)
    FROM (SELECT stays, min(first_seen) AS first_seen FROM gone GROUP BY stays) g WHERE e.id = g.stays
  RETURNING 1
), moved AS (
  DELETE FROM healer.error_count c USING pairs p WHERE c.pattern = p.goes RETURNING p.stays, c.hour, c.errors
), added AS (
  INSERT INTO healer.error_count AS c (pattern, hour, errors)
  SELECT m.stays, m.hour, sum(m.errors)::bigint FROM moved m GROUP BY m.stays, m.hour
  ON CONFLICT (pattern, hour) DO UPDATE SET errors = c.errors + excluded.errors
  RETURNING 1
)
SELECT (SELECT count(*) FROM gone) + 0 * (SELECT count(*) FROM earlier) + 0 * (SELECT count(*) FROM added) AS joined
