-- The generator weights as they stand.
-- Parameters: none.
-- Columns: name, weight, weight_text (exactly as stored), status, locked, changed_at; at most 1,001 rows.
SELECT g.{weights_name}::text AS name, g.{weights_weight}::float8 AS weight, g.{weights_weight}::text AS weight_text,
       {weights_status} AS status, coalesce({weights_locked}, false) AS locked, {weights_changed} AS changed_at
  FROM {weights} g
 WHERE g.{weights_name} IS NOT NULL
 ORDER BY g.{weights_name}::text COLLATE "C" LIMIT 1001
