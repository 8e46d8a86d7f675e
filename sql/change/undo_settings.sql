-- Restores the settings that a run changed where they still hold what healer wrote, locks them, and journals that.
-- A setting that was new keeps its name, with the value null: locked, so that it is not made again.
-- Parameters: $1 bigint[] ids of journal rows; $2 bigint run of the undo.
-- Columns: id (the setting), of those that were restored.
WITH actions AS MATERIALIZED (
  SELECT a.* FROM healer.action a WHERE a.id = ANY ($1::bigint[]) AND a.undone_at IS NULL ORDER BY a.id FOR UPDATE
), restored AS (
  UPDATE healer.setting s
     SET value = coalesce(a.before -> 'value', 'null'), updated_at = clock_timestamp(), locked = true
    FROM actions a
   WHERE s.name = a.target AND s.value = a.after -> 'value'
  RETURNING s.name, s.value, a.id AS action_id, a.check_name, a.action, a.after
), marked AS (
  UPDATE healer.action x SET undone_at = clock_timestamp(), undone_by = $2::bigint
    FROM restored r WHERE x.id = r.action_id
)
INSERT INTO healer.action (run_id, check_name, type, action, relation, target, before, after, reason)
SELECT $2::bigint, r.check_name, 'undo', 'undo_' || r.action, 'healer.setting', r.name, r.after,
       jsonb_build_object('value', r.value), 'undone by a person'
  FROM restored r
RETURNING target AS id
