-- Removes claims that were settled long ago, those that nothing settles any more, and samples beyond 30 days, a bounded
-- number at a time.
-- Parameters: none.
-- Columns: removed.
WITH claims AS (
  DELETE FROM healer.forecast WHERE id IN (
    SELECT id FROM healer.forecast WHERE settled_at < now() - interval '35 days' ORDER BY settled_at LIMIT 10000)
  RETURNING 1
), samples AS (
  DELETE FROM healer.resource_sample WHERE (resource, at) IN (
    SELECT resource, at FROM healer.resource_sample WHERE at < now() - interval '30 days' ORDER BY at LIMIT 20000)
  RETURNING 1
)
SELECT (SELECT count(*) FROM claims) + (SELECT count(*) FROM samples) AS removed
