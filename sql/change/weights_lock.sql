-- Locks all generator weights, in the order of their names: their sum is what is guarded.
-- Parameters: none.
-- Columns: name, weight_text, status, locked.
SELECT g.{weights_name}::text AS name, g.{weights_weight}::text AS weight_text, {weights_status} AS status,
       coalesce({weights_locked}, false) AS locked
  FROM {weights} g
 WHERE g.{weights_name} IS NOT NULL
 ORDER BY g.{weights_name}::text COLLATE "C"
   FOR UPDATE OF g
