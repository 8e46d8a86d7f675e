-- The settings that a run changed, and of each whether it still holds what healer wrote.
-- Parameters: $1 bigint run; $2 text[] checks, empty for all.
-- Columns: action_id, action, target, undone, intact.
SELECT a.id AS action_id, a.action, a.target, a.undone_at IS NOT NULL AS undone,
       coalesce(s.value = a.after -> 'value', false) AS intact
  FROM healer.action a
  LEFT JOIN healer.setting s ON s.name = a.target
 WHERE a.run_id = $1::bigint AND a.relation = 'healer.setting'
   AND (cardinality($2::text[]) = 0 OR a.check_name = ANY ($2::text[]))
 ORDER BY a.id
