-- Restores what a run changed where the post still holds what healer wrote, journals that, and holds the posts. What an
-- undo is taken back by is no longer held. A post that somebody has locked is left alone, and so is one that would be
-- queued although its row says by now that it was sent.
-- Parameters: $1 bigint[] ids of journal rows; $2 bigint run of the undo.
-- Columns: id, of the posts that were restored.
WITH actions AS MATERIALIZED (
  SELECT a.*,
         -- The undo of an undo is healer's own change again.
         (length(a.action) - length(regexp_replace(a.action, '^(undo_)+', ''))) / 5 % 2 = 1 AS redone
    FROM healer.action a
   WHERE a.id = ANY ($1::bigint[]) AND a.undone_at IS NULL AND a.before IS NOT NULL ORDER BY a.id FOR UPDATE
), old AS MATERIALIZED (
  SELECT p.{id} AS id, a.id AS action_id, a.before, a.after, a.check_name, a.action, a.redone
    FROM {posts} p
    JOIN actions a ON p.{id} = {action_match}
   WHERE {still_holds} AND {may_restore}
   ORDER BY p.{id}
     FOR UPDATE OF p SKIP LOCKED
), restored AS (
  UPDATE {posts} AS p
     SET {restore}
    FROM old a
   WHERE p.{id} = a.id AND {still_holds}
  RETURNING p.{id} AS id, p.{status}::text AS status, {restored_json} AS now_holds
), marked AS (
  UPDATE healer.action x SET undone_at = clock_timestamp(), undone_by = $2::bigint
    FROM old o JOIN restored r ON r.id = o.id
   WHERE x.id = o.action_id
), held AS (
  INSERT INTO healer.held_post AS h (post, check_name, status, code, reason, run_id)
  SELECT r.id::text, o.check_name, r.status, 'undone', 'a person undid ' || o.action, $2::bigint
    FROM restored r JOIN old o ON o.id = r.id
   WHERE NOT o.redone
  ON CONFLICT (post) WHERE resolved_at IS NULL
  DO UPDATE SET code = 'undone', reason = excluded.reason, status = excluded.status, run_id = excluded.run_id
), released AS (
  UPDATE healer.held_post h SET resolved_at = clock_timestamp(), resolution = 'redone', resolved_by = 'a person'
    FROM restored r JOIN old o ON o.id = r.id
   WHERE o.redone AND h.post = r.id::text AND h.resolved_at IS NULL
)
INSERT INTO healer.action (run_id, check_name, type, action, relation, target, before, after, reason)
SELECT $2::bigint, o.check_name, 'undo', 'undo_' || o.action, {relation}, r.id::text, o.after,
       (SELECT jsonb_object_agg(n.key, n.value) FROM jsonb_each(r.now_holds) n WHERE o.before ? n.key),
       'undone by a person'
  FROM restored r JOIN old o ON o.id = r.id
RETURNING target AS id
