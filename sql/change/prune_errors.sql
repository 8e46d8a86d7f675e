-- Removes patterns of errors that were not seen for long, and counts of long ago, a bounded number of rows at a time.
-- Parameters: none.
-- Columns: removed.
WITH counts AS (
  DELETE FROM healer.error_count c WHERE (c.pattern, c.hour) IN (
    SELECT o.pattern, o.hour FROM healer.error_count o WHERE o.hour < now() - interval '90 days' ORDER BY o.hour LIMIT 50000)
  RETURNING 1
), patterns AS (
  DELETE FROM healer.error_pattern WHERE id IN (
    SELECT o.id FROM healer.error_pattern o
     WHERE o.last_seen < now() - interval '90 days'
        -- However many there are: no more are kept than a run reads.
        OR o.id IN (SELECT m.id FROM healer.error_pattern m ORDER BY m.last_seen DESC, m.id OFFSET 5000)
     ORDER BY o.last_seen LIMIT 5000)
  RETURNING id
), orphans AS (
  DELETE FROM healer.error_count c USING patterns p WHERE c.pattern = p.id RETURNING 1
)
SELECT (SELECT count(*) FROM counts) + (SELECT count(*) FROM patterns) + (SELECT count(*) FROM orphans) AS removed
