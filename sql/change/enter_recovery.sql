-- Enters posted posts without id into the queue of the application's recovery job.
-- Parameters: $1 text[] ids.
-- Columns: id, of those that are new there.
INSERT INTO healer.id_recovery (post)
SELECT k.post
  FROM unnest($1::text[]) AS k (post)
  JOIN {posts} p ON p.{id} = k.post::{id_type} AND p.{status} IS NOT DISTINCT FROM {posted}
   AND (p.{external_id} IS NULL OR p.{external_id}::text !~ {real})
 ORDER BY k.post
ON CONFLICT (post) WHERE resolved_at IS NULL DO NOTHING
RETURNING post AS id
