-- Brings posts back that were moved to healer.archived_post, journals that, and holds them.
-- Parameters: $1 bigint[] ids of journal rows; $2 bigint run of the undo.
-- Columns: id, of the posts that are back.
WITH actions AS MATERIALIZED (
  SELECT a.* FROM healer.action a
   WHERE a.id = ANY ($1::bigint[]) AND a.undone_at IS NULL AND a.action = 'move_to_archive' ORDER BY a.id FOR UPDATE
), back AS (
  INSERT INTO {posts} AS p ({row_columns}) OVERRIDING SYSTEM VALUE
  SELECT {row_values} FROM actions a CROSS JOIN LATERAL jsonb_populate_record(NULL::{posts}, a.before) r
   WHERE NOT EXISTS (SELECT 1 FROM {posts} x WHERE x.{id} = {action_match})
  RETURNING p.{id}::text AS id, p.{status}::text AS status
), removed AS (
  DELETE FROM healer.archived_post z USING back b WHERE z.post = b.id AND z.relation = {relation}
), marked AS (
  UPDATE healer.action x SET undone_at = clock_timestamp(), undone_by = $2::bigint
    FROM actions a JOIN back b ON b.id = a.target
   WHERE x.id = a.id
), held AS (
  INSERT INTO healer.held_post AS h (post, check_name, status, code, reason, run_id)
  SELECT b.id, 'old-failed', b.status, 'undone', 'a person undid move_to_archive', $2::bigint FROM back b
  ON CONFLICT (post) WHERE resolved_at IS NULL DO UPDATE SET code = 'undone', reason = excluded.reason
)
INSERT INTO healer.action (run_id, check_name, type, action, relation, target, before, after, reason)
SELECT $2::bigint, 'old-failed', 'undo', 'undo_move_to_archive', {relation}, a.target, NULL, a.before,
       'undone by a person'
  FROM actions a JOIN back b ON b.id = a.target
RETURNING target AS id
