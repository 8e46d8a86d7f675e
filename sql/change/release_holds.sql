-- Closes holds whose reason has gone: the post has left the status it was held in.
-- Parameters: none.
-- Columns: id.
UPDATE healer.held_post AS h
   SET resolved_at = clock_timestamp(), resolution = 'gone', resolved_by = 'healer'
 WHERE h.resolved_at IS NULL
   AND NOT EXISTS (SELECT 1 FROM {posts} p WHERE p.{id} = {held_match} AND p.{status}::text = h.status
                      AND NOT (h.check_name = 'missing-ids' AND coalesce(p.{external_id}::text ~ {real}, false)))
RETURNING h.post AS id
