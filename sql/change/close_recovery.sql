-- Closes entries of the recovery queue whose post has its id.
-- Parameters: none.
-- Columns: id.
UPDATE healer.id_recovery AS r
   SET resolved_at = clock_timestamp(), external_id = p.{external_id}::text, resolved_by = 'post'
  FROM {posts} p
 WHERE r.resolved_at IS NULL AND p.{id} = {recovery_match} AND p.{external_id}::text ~ {real}
RETURNING r.post AS id
