-- Moves old failed posts, whole, to healer.archived_post; journals them.
-- Parameters: $1 text[] ids, locked in the statement before; $2 text[] reasons; $3 text[] evidence as JSON;
--   $4 timestamptz[] when a person last decided (open attempts before that do not count); $5 text[] external ids;
--   $6 timestamptz[] times of posting; $7 timestamptz lower bound of the events; $8 bigint run.
-- Columns: id, of those that were changed.
WITH keys AS MATERIALIZED (
  SELECT k.* FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::timestamptz[])
      AS k (post, reason, evidence, decided_at, external_id, posted_at)
), sent AS MATERIALIZED (
  SELECT e.post
    FROM (
{change_branches}
    ) e
    JOIN keys k ON k.post = e.post
   WHERE e.kind IN ('sent', 'sent_without_id')
      OR (e.kind = 'open' AND (k.decided_at IS NULL OR e.at IS NULL OR e.at > k.decided_at))
      -- Whether such a failure came after the submit is for the next run to judge.
      OR (e.kind = 'failed' AND e.at > {planned_at})
), moved AS (
  DELETE FROM {posts} AS p
   USING keys k
   WHERE p.{id} = k.post::{id_type} AND p.{status} IS NOT DISTINCT FROM {failed}
     AND (p.{external_id}::text IS NULL OR p.{external_id}::text !~ {real})
     AND NOT EXISTS (SELECT 1 FROM sent s WHERE s.post = k.post)
  RETURNING p.{id}::text AS id, to_jsonb(p) AS row_data
), kept AS (
  INSERT INTO healer.archived_post (post, relation, row_data, run_id)
  SELECT m.id, {relation}, m.row_data, $8::bigint FROM moved m
)
INSERT INTO healer.action (run_id, check_name, type, action, relation, target, before, after, reason, evidence)
SELECT $8::bigint, 'old-failed', 'cleanup_old_failed', 'move_to_archive', {relation}, m.id, m.row_data, NULL,
       k.reason, k.evidence::jsonb
  FROM moved m
  JOIN keys k ON k.post = m.id
RETURNING target AS id
